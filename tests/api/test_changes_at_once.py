"""Changes that wait for one another leave connections to everything else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.api.client import ECHO, Api, eventually

AT_ONCE = 10  # more than there are connections
FUNCTION = {"name": "greet", "language": "python", "code": ECHO}
CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "deployments of a project": ("POST", "/deployments/project?plan=true&force=true", {"functions": [FUNCTION]}),
    "deployments of functions": ("POST", "/deployments?force=true", {"functions": [FUNCTION]}),
    "changes of a function": ("PATCH", "/functions/greet", {"timeout_ms": 5000}),
}


@contextmanager
def long_deployment(api: Api) -> Iterator[None]:
    """What a deployment locks while it is under way."""
    with api.database.connect() as session, session.transaction():
        session.execute("select from zmesh.deployed_projects where project_id = %s for update", [api.project.id])
        session.execute("select from zmesh.functions where project_id = %s for no key update", [api.project.id])
        yield


def waiting(api: Api) -> int:
    query = "select count(*) from pg_stat_activity where usename = 'zmesh_api' and wait_event_type = 'Lock'"
    found: int = api.database.value(query)
    return found


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_of_one_project_that_wait_hold_up_no_other_project(api: Api, stranger: Api, kind: str) -> None:
    method, path, body = CHANGES[kind]
    for project in (api, stranger):
        assert project.call("POST", "/deployments/project?force=true", json={"functions": [FUNCTION]}).is_success
    with ThreadPoolExecutor(AT_ONCE) as pool:
        with long_deployment(api):
            changes = [pool.submit(api.call, method, path, json=body) for _ in range(AT_ONCE)]
            eventually(lambda: waiting(api) >= 2, "changes that wait")
            for _ in range(3):
                assert stranger.call("GET", "/functions/greet").status_code == 200
                assert stranger.invoke(json={}, headers={"prefer": "respond-async"}).status_code == 202
                assert stranger.call("PATCH", "/functions/greet", json={"timeout_ms": 5000}).status_code == 200
            assert waiting(api) == 2
        assert [change.result().status_code for change in changes] == [200] * AT_ONCE


def test_a_draft_waits_for_no_deployment_of_its_function(api: Api) -> None:
    api.call("POST", "/deployments/project?force=true", json={"functions": [FUNCTION]})
    with long_deployment(api):
        answer = api.call("POST", "/functions/greet/test", json={}, headers={"prefer": "respond-async"})
        assert answer.status_code == 202
