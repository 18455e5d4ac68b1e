"""Dumps a database of this version, for those that come."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from support.scram import verifier
from tests.databases import Database, TestProject
from tests.postgres_with_cron import BINARIES, from_packages
from tests.releases import FOLDER, ROLE, SCHEMA

VOLATILE = ("-- Dumped ", "\\restrict ", "\\unrestrict ")


def main(version: str) -> None:
    with tempfile.TemporaryDirectory(prefix="zmesh-dump-") as name:
        Path(name).chmod(0o711)  # passable for the server's own user
        (Path(name) / "server").mkdir()
        with from_packages(Path(name) / "server", "dumped") as url:
            fill(Database.create(url, "dumped", "unused", "unused"))
            text = dump(url)
    path = FOLDER / f"{version}.sql.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path)


def fill(database: Database) -> None:
    """A project with the names that `restored` gives its role and schema, a function, and an invocation of it."""
    query = "select id from zmesh.create_project('shop', %s, %s, %s, %s)"
    project = database.row(query, ROLE, SCHEMA, verifier("unused"), b"sealed")
    shop = TestProject(project["id"], "", ROLE, SCHEMA)
    database.function(shop)
    query = "insert into zmesh.invocations (project_id, function, payload) values (%s, 'greet', '{\"n\": 1}')"
    database.rows(query, shop.id)


def dump(url: str) -> str:
    """What pg_dump writes, less what differs each time, and less pg_cron, which not every server has."""
    environment = {**os.environ, "PGPASSWORD": str(conninfo_to_dict(url)["password"])}
    command = [BINARIES / "pg_dump", "--inserts", "--schema", "zmesh*", "--schema", "app_*", url]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(VOLATILE))


if __name__ == "__main__":
    main(sys.argv[1])
