"""The database of a test run: the one that `zmesh test` has made, or one that is made here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from zmesh.testing.recording import RecordingZmesh

VARIABLE = "ZMESH_TEST_DATABASE_URL"


@contextmanager
def database_url(project: Path) -> Iterator[str]:
    """Its connection string. A database that is made here gets the project's migrations and, like the
    sandbox beside it, lasts until the block ends."""
    given = os.environ.get(VARIABLE)
    if given:
        yield given
        return
    from cli.testing.sandbox import sandbox_beside
    from cli.testing.throwaway import throwaway_database

    with throwaway_database(project) as url, sandbox_beside(url) as variables:
        os.environ.update(variables)
        try:
            yield variables[VARIABLE]
        finally:
            for name in variables:
                os.environ.pop(name, None)


@contextmanager
def recording_zmesh(project: Path | None = None) -> Iterator[RecordingZmesh]:
    """The zmesh object of one test. `project`: the folder with its migrations, by default the working directory."""
    with database_url(project or Path.cwd()) as url, closing(RecordingZmesh(url)) as zmesh:
        yield zmesh
