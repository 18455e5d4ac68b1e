"""A migrated database and what tests do with one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from sql import accounts
from sql.migrate import migrate
from sql.server import grant_on_database
from support.sealing import Sealer

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TestProject:
    """A project, and the connection string of its role."""

    __test__ = False
    id: UUID
    url: str
    role: str
    schema: str


def _url_of(server: str, name: str) -> str:
    parts = conninfo_to_dict(make_conninfo(server, dbname=name))
    return f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{name}"


@dataclass(slots=True)
class Database:
    """Connection strings of each role, and shortcuts of an administrator."""

    admin_url: str
    api_url: str
    listener_url: str
    secret_key: str
    roles: list[str] = field(default_factory=list)

    @classmethod
    def create(cls, server: str, name: str, api_password: str, listener_password: str) -> Database:
        admin_url = _url_of(server, name)
        migrate(admin_url, passwords={"zmesh_api": api_password, "zmesh_listener": listener_password})
        return cls._at(admin_url, api_password, listener_password)

    @classmethod
    def _at(cls, admin_url: str, api_password: str, listener_password: str) -> Database:
        return cls(
            admin_url,
            accounts.role_url(admin_url, "zmesh_api", api_password),
            accounts.role_url(admin_url, "zmesh_listener", listener_password),
            Sealer.new_key(),
        )

    @classmethod
    @contextmanager
    def fresh(
        cls, server: str, api_password: str, listener_password: str, template: str | None = None
    ) -> Iterator[Database]:
        """A database of its own until the block ends; then its projects' roles are gone as well.

        `template` is one that has been migrated with the same passwords.
        """
        name = f"zmesh_test_{secrets.token_hex(6)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"create database {name} template {template or 'template1'} strategy file_copy")
            if template is None:
                database = cls.create(server, name, api_password, listener_password)
            else:
                database = cls._at(_url_of(server, name), api_password, listener_password)
                with database.connect() as inside:
                    grant_on_database(inside)
            try:
                yield database
            finally:
                connection.execute(f"drop database {name} with (force)")
                for role in database.roles:
                    connection.execute(f"drop role if exists {role}")

    def connect(self, url: str | None = None) -> psycopg.Connection[Row]:
        """An autocommit connection with dict rows; as administrator unless told."""
        return psycopg.connect(url or self.admin_url, autocommit=True, row_factory=dict_row)

    def rows(self, query: str, *values: Any, url: str | None = None) -> list[Row]:
        with self.connect(url) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def row(self, query: str, *values: Any, url: str | None = None) -> Row:
        [row] = self.rows(query, *values, url=url)
        return row

    def value(self, query: str, *values: Any, url: str | None = None) -> Any:
        return next(iter(self.row(query, *values, url=url).values()))

    def project(self, name: str = "shop") -> TestProject:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            project = accounts.create_project(connection, Sealer(self.secret_key), name)
            url = accounts.project_url(connection, Sealer(self.secret_key), project, self.admin_url)
        self.roles.append(project.role_name)
        return TestProject(project.id, url, project.role_name, project.schema_name)

    def remember_roles(self) -> None:
        """Roles of projects that others made here, to be dropped in the end: they belong to the whole server."""
        self.roles[:] = {*self.roles, *(row["role_name"] for row in self.rows("select role_name from zmesh.projects"))}

    def function(self, project: TestProject, name: str = "greet", **columns: Any) -> UUID:
        values = {
            "language": "python",
            "code": "def handler(payload, zmesh):\n    return payload\n",
            **columns,
            "project_id": project.id,
            "name": name,
        }
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        return UUID(
            str(
                self.value(
                    f"insert into zmesh.functions ({names}) values ({marks}) returning id",
                    *values.values(),
                )
            )
        )

    def enqueue(self, project: TestProject, function: str = "greet", count: int = 1, **columns: Any) -> list[UUID]:
        """Insert invocations as the project's own role."""
        values = {"function": function, **columns}
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        query = f"insert into zmesh.invocations ({names}) select {marks} from generate_series(1, %s) returning id"
        return [row["id"] for row in self.rows(query, *values.values(), count, url=project.url)]

    def listener(self, slots: int = 10, lease: str = "1 minute") -> UUID:
        return UUID(
            str(
                self.value(
                    "select zmesh.register_listener('test', %s, %s::interval)", slots, lease, url=self.listener_url
                )
            )
        )

    def claim(self, listener: UUID, slots: int = 10) -> list[Row]:
        """What a listener runs next, with large payloads, which claims leave out."""
        query = "select * from zmesh.payload_of(%s, %s, %s::smallint)"
        return [
            job if job["payload"] is not None else job | self.row(query, listener, job["id"], job["attempt"])
            for job in self.rows("select * from zmesh.claim(%s, %s)", listener, slots, url=self.listener_url)
        ]

    def finish(self, listener: UUID, job: Row, status: str = "success", **outcome: Any) -> bool:
        """Whether the end was accepted."""
        values = {
            "id": job["id"],
            "attempt": job["attempt"],
            "status": status,
            "result": outcome.get("result", "null"),
            "response": outcome.get("response"),
            "error": outcome.get("error"),
            "logs": outcome.get("logs"),
            "duration_ms": outcome.get("duration_ms", 1),
        }
        accepted = self.rows(
            "select zmesh.finish(%s, array[row(%s::uuid, %s::smallint, %s, %s::json, %s::json, %s::jsonb, %s::json, %s,"
            " 1, 1)::zmesh.outcome])",
            listener,
            *values.values(),
            url=self.listener_url,
        )
        return bool(accepted)

    def invocation(self, id: UUID) -> Row:
        return self.row("select * from zmesh.invocations where id = %s", id)

    def stop_clock(self, at: str) -> None:
        """From now on it is this time in the database, until called again."""
        self.rows(
            "create or replace function zmesh.now() returns timestamptz language sql volatile parallel safe "
            f"return timestamptz '{at}'"
        )
