"""docs/reference/permissions.md is the truth: every cell of its table is tried, and every endpoint is in it.

An endpoint that is new needs a line there and, where it takes a body or a thing of its own, one in BODIES, QUERIES or
THINGS.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from litestar.routes import HTTPRoute

from api.app import Parts, create_app
from api.auth.tokens import token_hash
from api.settings import Settings
from support.sealing import Sealer
from tests.api.client import ECHO, PASSWORD, PASSWORD_HASH, Api, new_token
from tests.api.conftest import Backend

TABLE = (Path(__file__).parents[2] / "docs" / "reference" / "permissions.md").read_text()
COLUMNS = ("viewer", "developer", "owner", "key", "deploy key", "nobody")
PROGRAMS = {"key": "invoke", "deploy key": "deploy"}  # and the scope of their keys
ROWS = re.findall(r"^\| ([A-Z]+) \| `(/[^`]*)` \| (.*) \|$", TABLE, re.MULTILINE)
WITHOUT_A_PROJECT = {
    "/hooks/{token}",
    "PUT /secrets/{name}",
    "PUT /registries",
    "PUT /bundles/{hash}/chunks/{number}",
}  # these name nothing of a project's
STREAMS = ("/live", "/logs", "/functions/{id}/logs")  # endless
ALIAS = {"versions": {"1": 100}}
NOT_ENDPOINTS = ("/schema", "/console")  # tests/api/test_browser_sessions.py


@dataclass
class Things:
    """What the endpoints are about, made in one project by its owner."""

    api: Api
    actor: UUID
    keys: dict[str, str]

    @classmethod
    def of(cls, api: Api) -> Things:
        made = api.call("POST", "/keys", json={"name": "CI", "scope": "deploy"}).json()
        return cls(api, api.user_id, {"invoke": api.key, made["scope"]: made["key"]})

    def function(self) -> str:
        id: str = self.api.deploy(f"f{secrets.token_hex(4)}")["id"]
        return id

    def version(self) -> str:
        function = self.function()
        self.api.call("PATCH", f"/functions/{function}", json={"code": ECHO + "#\n"})
        return function

    def function_with_secret(self) -> str:
        function = self.function()
        assert self.api.call("PUT", f"/functions/{function}/secrets/PASSWORD", json={"value": "sesame"}).is_success
        return function

    def secret(self) -> str:
        name = f"S{secrets.token_hex(4)}"
        assert self.api.call("PUT", f"/secrets/{name}", json={"value": "sesame"}).is_success
        return name

    def alias(self) -> str:
        function = self.function()
        answer = self.api.call("PUT", f"/functions/{function}/aliases/live", json=ALIAS)
        assert answer.is_success, answer.text
        return function

    def slug(self) -> str:
        slug: str = self.api.deploy(f"f{secrets.token_hex(4)}")["slug"]
        return slug

    def invocation(self) -> str:
        return str(self.api.database.enqueue(self.api.project, self.slug())[0])

    def cancelled(self) -> str:
        id = self.invocation()
        self.api.call("POST", f"/invocations/{id}/cancel")
        return id

    def dry_run(self) -> str:
        id = self.invocation()
        insert = (
            "insert into zmesh.dry_runs (invocation_id, project_id, created_at, changes) values (%s, %s, now(), '{}')"
        )
        self.api.database.rows(insert, id, self.api.project.id)
        return id

    def schedule(self) -> str:
        return self._made("/schedules", function_id=self.function(), cron="@daily")

    def table(self) -> str:
        name = f"t{secrets.token_hex(4)}"
        self.api.database.rows(f"create table {name} (id integer)", url=self.api.project.url)
        return name

    def change(self) -> str:
        """What is passed on of a table, as a query names it."""
        names = {"table": self.table(), "function_id": self.function()}
        answer = self.api.call("POST", "/changes", json=names)
        assert answer.is_success, answer.text
        return f"?table={names['table']}&function_id={names['function_id']}"

    def webhook(self) -> str:
        return self._made("/webhooks", function_id=self.function())

    def delivery(self) -> str:
        """A webhook and what it received, as in a path."""
        webhook = self.webhook()
        answer = self.api.call("POST", f"/webhooks/{webhook}/test", json={})
        assert answer.is_success, answer.text
        return f"{webhook}/deliveries/{answer.json()['id']}"

    def signed_webhook(self) -> str:
        return self._made("/webhooks", function_id=self.function(), preset="github")

    def hook(self) -> str:
        path: str = self.api.call("GET", f"/webhooks/{self.webhook()}").json()["path"]
        return path.removeprefix("/hooks/")

    def build(self) -> str:
        body = {"language": "python", "files": {"requirements.txt": f"six{secrets.token_hex(8)}"}}
        id: str = self.api.call("POST", "/builds", json=body).json()["id"]
        return id

    def registry(self) -> str:
        body = {"runtime": "python", "url": "https://packages.example/simple", "packages": f"p{secrets.token_hex(8)}"}
        id: str = self.api.call("PUT", "/registries", json=body).json()["id"]
        return id

    def key(self) -> str:
        return self._made("/keys", name="a key")

    def invitation(self) -> str:
        return self._made("/invitations", email=f"{secrets.token_hex(4)}@example.org")

    def invitation_token(self) -> str:
        email = self._email_of(self.user())
        token: str = self.api.call("POST", "/invitations", json={"email": email}).json()["token"]
        return token

    def user(self) -> str:
        email = f"{secrets.token_hex(8)}@example.org"
        query = "insert into zmesh.users (email, password_hash) values (%s, %s) returning id"
        return str(self.api.database.value(query, email, PASSWORD_HASH))

    def member(self) -> str:
        id = self.user()
        query = "insert into zmesh.memberships (user_id, project_id, role) values (%s, %s, 'developer')"
        self.api.database.rows(query, id, self.api.project.id)
        return id

    def project(self) -> str:
        """Another one, in which the actor has the same role."""
        project = self._made("/projects", name=f"p {secrets.token_hex(4)}")
        query = """insert into zmesh.memberships (user_id, project_id, role)
                   select user_id, %s, role from zmesh.memberships where project_id = %s and user_id = %s
                   on conflict do nothing"""
        self.api.database.rows(query, project, self.api.project.id, self.actor)
        return project

    def refresh_token(self) -> str:
        token = secrets.token_hex(16)
        self.api.database.rows("select zmesh.start_session(%s, '', %s)", self.api.user_id, token_hash(token))
        return token

    def email(self) -> str:
        return self._email_of(self.api.user_id)

    def members_email(self) -> str:
        return self._email_of(self.member())

    def _email_of(self, user_id: object) -> str:
        email: str = self.api.database.value("select email from zmesh.users where id = %s", user_id)
        return email

    def _made(self, path: str, **body: Any) -> str:
        answer = self.api.call("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        id: str = answer.json()["id"]
        return id


THINGS: dict[str, Callable[[Things], str]] = {
    "/functions/{id}/versions/{version}/rollback": Things.version,
    "/functions/{id}/versions/{version}/retire": Things.version,
    "/functions/{id}/versions/{version}/unretire": Things.version,
    "/functions/{id}/aliases/{alias}": Things.alias,
    "/functions/{id}/secrets/{name}": Things.function_with_secret,
    "/secrets/{name}": Things.secret,
    "/functions/{id}": Things.function,
    "/api/functions/{slug}": Things.slug,
    "/invocations/{id}/retry": Things.cancelled,
    "/invocations/{id}/changes": Things.dry_run,
    "/invocations/{id}": Things.invocation,
    "/schedules/{id}": Things.schedule,
    "/webhooks/{id}/rotate": Things.signed_webhook,
    "/webhooks/{id}/deliveries/{delivery_id}": Things.delivery,
    "/webhooks/{id}": Things.webhook,
    "/hooks/{token}": Things.hook,
    "/keys/{id}": Things.key,
    "/invitations/{id}": Things.invitation,
    "/members/{id}": Things.member,
    "/projects/{id}": Things.project,
    "/builds/{id}": Things.build,
    "/bundles/{hash}": lambda _: "0" * 64,
    "/registries/{id}": Things.registry,
}
BODIES: dict[str, Callable[[Things], dict[str, Any]]] = {
    "POST /auth/switch": lambda things: {"project": str(things.api.project.id)},
    "POST /functions": lambda _: {"name": f"f {secrets.token_hex(4)}", "language": "python", "code": ECHO},
    "PATCH /functions/{id}": lambda _: {"timeout_ms": 5000},
    "POST /deployments": lambda _: {
        "functions": [{"name": f"f {secrets.token_hex(4)}", "language": "python", "code": ECHO}]
    },
    "POST /deployments/project": lambda things: {
        "functions": [{"name": f"f {secrets.token_hex(4)}", "language": "python", "code": ECHO}],
        "schedules": [{"name": secrets.token_hex(4), "function": things.slug(), "cron": "@daily"}],
    },
    "POST /builds": lambda _: {
        "language": "python",
        "files": {"requirements.txt": f"six{secrets.token_hex(8)}"},
    },
    "PUT /functions/{id}/aliases/{alias}": lambda _: ALIAS,
    "PUT /functions/{id}/secrets/{name}": lambda _: {"value": "sesame"},
    "PUT /bundles/{hash}/chunks/{number}": lambda _: {"data": ""},
    "PUT /registries": lambda _: {"runtime": "node", "url": "https://npm.example/", "packages": "@acme"},
    "PUT /secrets/{name}": lambda _: {"value": "sesame"},
    "POST /invocations/retry": lambda _: {"status": "error"},
    "POST /schedules": lambda things: {"function_id": things.function(), "cron": "@daily"},
    "PATCH /schedules/{id}": lambda _: {"enabled": False},
    "POST /changes": lambda things: {"table": things.table(), "function_id": things.function()},
    "POST /webhooks": lambda things: {"function_id": things.function()},
    "PATCH /webhooks/{id}": lambda _: {"enabled": False},
    "POST /functions/{id}/test": lambda _: {"payload": {}},
    "POST /drafts": lambda _: {"name": "new", "language": "python", "code": ""},
    "POST /webhooks/{id}/test": lambda _: {"payload": {}},
    "POST /callbacks/secret/rotate": lambda _: {"grace_seconds": 0},
    "POST /webhooks/{id}/rotate": lambda _: {"grace_seconds": 0},
    "POST /keys": lambda _: {"name": "another key"},
    "POST /invitations": lambda _: {"email": f"{secrets.token_hex(4)}@example.org"},
    "PATCH /members/{id}": lambda _: {"role": "viewer"},
    "POST /projects": lambda _: {"name": f"p {secrets.token_hex(4)}"},
    "PATCH /projects/{id}": lambda _: {"name": "renamed"},
    "POST /auth/login": lambda things: {"email": things.email(), "password": PASSWORD},
    "POST /auth/refresh": lambda things: {"refresh_token": things.refresh_token()},
    "POST /auth/logout": lambda things: {"refresh_token": things.refresh_token()},
    "POST /auth/password": lambda things: {
        "email": things.members_email(),
        "password": PASSWORD,
        "new_password": "a new one, longer",
    },
    "POST /auth/accept": lambda things: {"token": things.invitation_token(), "password": PASSWORD},
}
QUERIES: dict[str, Callable[[Things], str]] = {
    "GET /schedules/preview": lambda _: "?cron=@daily",
    "DELETE /changes": Things.change,
}


@pytest.fixture(scope="module")
def things(backend: Backend) -> Things:
    api = Api.create(backend.database, backend.process.url, f"m{secrets.token_hex(4)}")
    things = Things.of(api)
    things.actor = UUID(things.member())
    return things


@pytest.fixture(scope="module")
def others(backend: Backend) -> Things:
    """What is another project's; the actor's role there is none."""
    api = Api.create(backend.database, backend.process.url, f"o{secrets.token_hex(4)}")
    return Things.of(api)


def filled(path: str, things: Things) -> str:
    make = next((make for start, make in THINGS.items() if path.startswith(start)), None)
    assert make is not None or "{" not in path, f"THINGS lacks {path}"
    path = path.replace("{id}/deliveries/{delivery_id}", "{delivery}")
    path = path.replace("{version}", "1").replace("{alias}", "live")
    path = path.replace("{number}", "0")
    if path.startswith("/functions/"):
        path = path.replace("{name}", "PASSWORD")
    return path if make is None else re.sub(r"\{\w+\}", make(things), path, count=1)


def body_of(method: str, path: str, things: Things) -> dict[str, Any]:
    make = BODIES.get(f"{method} {path}")
    return {} if make is None else {"json": make(things)}


def query_of(method: str, path: str, things: Things) -> str:
    make = QUERIES.get(f"{method} {path}")
    return "" if make is None else make(things)


def credentials(things: Things, who: str) -> dict[str, str]:
    if who == "nobody":
        return {}
    if who in PROGRAMS:
        return {"x-api-key": things.keys[PROGRAMS[who]]}
    query = "update zmesh.memberships set role = %s where user_id = %s and project_id = %s"
    things.api.database.rows(query, who, things.actor, things.api.project.id)
    return {"authorization": f"Bearer {new_token(things.actor, things.api.project.id)}"}


def served() -> Iterator[tuple[str, str]]:
    """Every method and path of the application."""
    settings = Settings(database_url="postgresql://", jwt_secret_key="x", secret_key=Sealer.new_key())
    for route in create_app(Parts.of(settings)).routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r":\w+\}", "}", route.path)
            described = {
                m for handler in route.route_handlers if handler.include_in_schema for m in handler.http_methods
            }
            yield from ((str(method), path) for method in described)


def test_every_endpoint_is_in_the_table_and_no_other() -> None:
    endpoints = {
        (method, path)
        for method, path in served()
        if not path.startswith(NOT_ENDPOINTS)
        and not (path.startswith("/api/functions/{slug}") and (method, path) != ("POST", "/api/functions/{slug}"))
    }
    assert {(method, path) for method, path, _ in ROWS} == endpoints, "docs/reference/permissions.md needs a change"
    assert len(ROWS) == len(endpoints)


@pytest.mark.parametrize(("method", "path", "cells"), ROWS, ids=[f"{method} {path}" for method, path, _ in ROWS])
def test_every_cell_is_as_the_table_says(method: str, path: str, cells: str, things: Things, others: Things) -> None:
    marks = dict(zip(COLUMNS, cells.split(" | "), strict=True))
    for who, mark in marks.items():
        headers = {**credentials(things, who), "prefer": "respond-async"}
        url = things.api.url + filled(path, things) + query_of(method, path, things)
        if path in STREAMS and mark == "✓":
            with things.api.client.stream(method, url, headers=headers) as stream:
                assert stream.is_success, f"{who}: {stream.status_code}"
            continue
        answer = things.api.client.request(method, url, headers=headers, **body_of(method, path, things))
        if mark == "✓":
            assert answer.is_success, f"{who}: {answer.status_code} {answer.text}"
            continue
        is_person = who not in (*PROGRAMS, "nobody") and not path.startswith("/api/")
        assert (mark, answer.status_code) == ("–", 403 if is_person else 401), f"{who}: {answer.text}"
    if path.startswith(tuple(THINGS.keys() - WITHOUT_A_PROJECT)) and f"{method} {path}" not in WITHOUT_A_PROJECT:
        _does_not_exist_for_others(method, path, marks, things, others)


def _does_not_exist_for_others(method: str, path: str, marks: dict[str, str], things: Things, others: Things) -> None:
    for who in ("owner", *PROGRAMS):
        if marks[who] == "✓":
            url = things.api.url + filled(path, others)
            options = {"headers": credentials(things, who), **body_of(method, path, things)}
            answer = things.api.client.request(method, url, **options)
            assert answer.status_code == 404, f"{who}: {answer.status_code} {answer.text}"
