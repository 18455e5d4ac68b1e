"""Databases as earlier versions left them: dumps of a project with one function and one queued invocation.

`python -m tests.releases VERSION`, before a release, adds the one of that version. It needs Debian's postgresql-15,
since a dump can be restored by the same version of PostgreSQL or a newer one.
"""

from __future__ import annotations

import gzip
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sql.accounts import password_purpose, role_url
from support.sealing import Sealer
from tests.databases import Database

FOLDER = Path(__file__).parent
DUMPS = sorted(FOLDER.glob("*.sql.gz"), key=lambda dump: ([int(n) for n in re.findall(r"\d+", dump.name)], dump.name))
ROLE, SCHEMA = "zmesh_p_upgrade_test", "app_upgrade_test"


@contextmanager
def restored(server: str, dump: Path, api_password: str, listener_password: str) -> Iterator[Database]:
    """A database of an earlier version, until the block ends. The platform's own roles are there already."""
    name, password, key = f"zmesh_test_{secrets.token_hex(6)}", secrets.token_urlsafe(16), Sealer.new_key()
    role = f"{ROLE}_{secrets.token_hex(3)}"  # roles belong to the whole server
    parts = conninfo_to_dict(make_conninfo(server, dbname=name))
    url = f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            connection.execute(f"create role {role} login password '{password}' in role zmesh_project")
            connection.execute(f"grant {role} to zmesh_provisioner with admin option")
            connection.execute(f"alter role {role} set search_path = {SCHEMA}")
            with psycopg.connect(url, autocommit=True) as there:
                there.execute(gzip.decompress(dump.read_bytes()).replace(ROLE.encode(), role.encode()))
                sealed = Sealer(key).seal(password, password_purpose(role))
                there.execute("update zmesh.project_databases set sealed_password = %s", (sealed,))
            api_url = role_url(url, "zmesh_api", api_password)
            yield Database(url, api_url, role_url(url, "zmesh_listener", listener_password), key)
        finally:
            connection.execute(f"drop database {name} with (force)")
            connection.execute(f"drop role if exists {role}")
