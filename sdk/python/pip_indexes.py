"""Runs pip with one index for each package, inside the sandbox of a build.

pip merges its indexes, so that a public package could take the place of a private one of the same name. Here the name
of a package decides which index is asked for it, and no other is.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any


def index_of(name: str, indexes: list[tuple[str, str]]) -> str:
    """The only index that a package is looked up in: that of its name, else of its longest prefix, else the first."""
    matching = [(packages, url) for packages, url in indexes[1:] if is_of(name, packages)]
    return max(matching, key=lambda one: (not one[0].endswith("*"), len(one[0])), default=indexes[0])[1]


def is_of(name: str, packages: str) -> bool:
    """Whether a name is that of a registry's package, or begins with the prefix of its packages."""
    return normal(name).startswith(packages[:-1]) if packages.endswith("*") else normal(name) == packages


def normal(name: str) -> str:
    """A name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """pip with these arguments. A pip without the method that is replaced must not run at all."""
    from pip._internal.cli.main import main as pip
    from pip._internal.models.search_scope import SearchScope

    indexes = [(packages, url) for packages, url in json.loads(os.environ.pop("INDEXES"))]
    asked: set[str] = set()

    def get_index_urls_locations(_scope: Any, project_name: str) -> list[str]:
        asked.add(project_name)
        return [f"{index_of(project_name, indexes).rstrip('/')}/{normal(project_name)}/"]

    if not callable(getattr(SearchScope, "get_index_urls_locations", None)):
        sys.exit("ERROR: this version of pip cannot use several registries")
    SearchScope.get_index_urls_locations = get_index_urls_locations  # type: ignore[method-assign]
    status = pip()
    sys.exit(status if asked or status else "ERROR: this version of pip cannot use several registries")


if __name__ == "__main__":
    main()
