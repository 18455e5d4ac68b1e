"""Builds in the database: requests, claims, leases, ends, and what is forgotten."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, Row, TestProject

HASH = "ab" * 32
LAYER = "cd" * 32


def request(database: Database, project: TestProject, hash: str = HASH, *, fresh: bool = False) -> Row:
    query = "select * from zmesh.request_build(%s, 'python', %s, %s, %s)"
    return database.row(query, project.id, hash, json.dumps({"requirements.txt": "six"}), fresh, url=database.api_url)


def claim(database: Database, listener: UUID) -> Row | None:
    found = database.rows("select * from zmesh.claim_build(%s)", listener, url=database.listener_url)
    return found[0] if found else None


def succeed(database: Database, listener: UUID, build: Row, layer: str = LAYER) -> None:
    with database.connect(database.listener_url) as connection, connection.transaction():
        row = connection.execute(
            "select zmesh.add_layer(%s, %s, %s, 'cp311', 3, 1) as needs_chunks", (listener, build["id"], layer)
        ).fetchone()
        assert row is not None
        if row["needs_chunks"]:
            connection.execute("select zmesh.add_layer_chunk(%s, %s, %s, 0, 'abc')", (listener, build["id"], layer))
        connection.execute(
            "select zmesh.finish_build(%s, %s, 'succeeded', 'six==1', '[]', %s, null)", (listener, build["id"], layer)
        )


def built(database: Database, project: TestProject, listener: UUID, **options: Any) -> Row:
    build = request(database, project, **options)
    assert claim(database, listener) is not None
    succeed(database, listener, build)
    return build


def status(database: Database, build: Row) -> str:
    return str(database.value("select status from zmesh.builds where id = %s", build["id"]))


def test_a_manifest_is_built_once_until_a_fresh_build_is_asked_for(database: Database) -> None:
    project, listener = database.project(), database.listener()
    first = request(database, project)
    assert request(database, project)["id"] == first["id"]
    assert request(database, project, fresh=True)["id"] == first["id"]  # it has not even begun
    assert claim(database, listener) is not None
    succeed(database, listener, first)
    assert request(database, project)["id"] == first["id"]
    assert request(database, project, fresh=True)["id"] != first["id"]
    assert request(database, database.project("other"))["id"] != first["id"]


def test_a_failed_build_is_no_answer_to_the_next_request(database: Database) -> None:
    project, listener = database.project(), database.listener()
    build = request(database, project)
    claim(database, listener)
    error = json.dumps({"type": "packages_not_installed", "message": "x"})
    query = "select zmesh.finish_build(%s, %s, 'failed', null, null, null, %s)"
    assert database.value(query, listener, build["id"], error, url=database.listener_url)
    assert status(database, build) == "failed"
    assert request(database, project)["id"] != build["id"]


def test_builds_of_projects_take_turns(database: Database) -> None:
    project, other, listener = database.project(), database.project("other"), database.listener()
    for number in range(3):
        request(database, project, f"{number:064x}")
    last = request(database, other)
    claims = [claim(database, listener) for _ in range(4)]
    assert [build["id"] for build in claims if build].index(last["id"]) == 1
    assert claim(database, listener) is None


def test_a_build_that_was_claimed_is_claimed_by_no_other(database: Database) -> None:
    request(database, database.project())
    assert claim(database, database.listener()) is not None
    assert claim(database, database.listener()) is None


def test_the_build_of_a_dead_listener_is_queued_again_three_times_and_then_fails(database: Database) -> None:
    project = database.project()
    build = request(database, project)
    for attempt in (1, 2, 3):
        listener = database.listener()
        claimed = claim(database, listener)
        assert claimed is not None
        assert claimed["attempts"] == attempt
        database.rows("update zmesh.listeners set lease_expires_at = zmesh.now() - interval '1 s'")
        database.rows("select zmesh.reap()", url=database.listener_url)
    row = database.row("select status, error from zmesh.builds where id = %s", build["id"])
    assert (row["status"], row["error"]["type"]) == ("failed", "listener_lost")
    reason = "Reason for the last interruption: The listener stopped. "
    assert row["error"]["message"].startswith(f"Each of 3 attempts was interrupted. {reason}")


def test_the_log_of_a_build_has_the_lines_of_each_attempt_and_why_it_was_interrupted(database: Database) -> None:
    build = request(database, database.project())
    tell = "select zmesh.tell_build(%s, %s, '{1,2}', array[now(), now()], array['one', %s])"
    requeue = "select zmesh.requeue_build(%s, %s, 'sandbox_failed', 'Killed.')"
    statuses = []
    for attempt in (1, 2, 3):
        listener, other = database.listener(), database.listener()
        assert claim(database, listener) is not None
        for _ in range(2):  # the answer to the first call was lost
            assert database.value(tell, listener, build["id"], f"of {attempt}", url=database.listener_url)
        assert database.value(requeue, other, build["id"], url=database.listener_url) == "running"
        statuses += [database.value(requeue, listener, build["id"], url=database.listener_url) for _ in range(2)]
    assert statuses == ["queued"] * 4 + ["failed"] * 2
    lines = database.rows("select message from zmesh.build_logs where build_id = %s order by line", build["id"])
    assert [line["message"] for line in lines] == [
        *("one", "of 1", "Attempt 1 of 3 was interrupted: Killed. The build is queued again."),
        *("one", "of 2", "Attempt 2 of 3 was interrupted: Killed. The build is queued again."),
        *("one", "of 3", "Attempt 3 of 3 was interrupted: Killed."),
    ]
    error = database.value("select error from zmesh.builds where id = %s", build["id"])
    assert error["type"] == "sandbox_failed"
    assert error["message"].endswith("ask the operator to read the listener's log, then deploy again.")


def test_a_build_that_was_cancelled_before_it_was_interrupted_is_not_queued_again(database: Database) -> None:
    project, listener = database.project(), database.listener()
    build = request(database, project)
    claim(database, listener)
    database.rows("select * from zmesh.cancel_build(%s, %s)", project.id, build["id"], url=database.api_url)
    requeue = "select zmesh.requeue_build(%s, %s, 'sandbox_failed', 'Killed.')"
    assert database.value(requeue, listener, build["id"], url=database.listener_url) == "cancelled"


def test_a_listener_that_lost_its_lease_claims_and_finishes_nothing(database: Database) -> None:
    build = request(database, database.project())
    late = database.listener()
    claim(database, late)
    database.rows("update zmesh.listeners set lease_expires_at = zmesh.now() - interval '1 s'")
    assert claim(database, late) is None
    database.rows("select zmesh.reap()", url=database.listener_url)
    with pytest.raises(psycopg.Error, match="does not run the build"):
        succeed(database, late, build)
    query = "select zmesh.finish_build(%s, %s, 'succeeded', null, null, null, null)"
    assert not database.value(query, late, build["id"], url=database.listener_url)
    assert status(database, build) == "queued"
    assert database.rows("select from zmesh.layers") == []


def test_a_queued_build_is_cancelled_at_once_and_a_running_one_is_told(database: Database) -> None:
    project, listener = database.project(), database.listener()
    queued, cancel = request(database, project), "select * from zmesh.cancel_build(%s, %s)"
    assert database.row(cancel, project.id, queued["id"], url=database.api_url)["status"] == "cancelled"
    running = request(database, project)
    claim(database, listener)
    tell = "select zmesh.tell_build(%s, %s, '{1,2}', array[now(), now()], '{one,two}')"
    assert database.value(tell, listener, running["id"], url=database.listener_url)
    database.rows(cancel, project.id, running["id"], url=database.api_url)
    assert not database.value(tell, listener, running["id"], url=database.listener_url)
    lines = database.rows("select message from zmesh.build_logs where build_id = %s order by line", running["id"])
    assert [line["message"] for line in lines] == ["one", "two"]
    assert database.rows(cancel, database.project("other").id, running["id"], url=database.api_url) == []
    database.rows("select zmesh.end_lease(%s)", listener, url=database.listener_url)
    assert status(database, running) == "cancelled"


def test_a_version_keeps_its_build_and_a_rollback_brings_it_back(database: Database) -> None:
    project, listener = database.project(), database.listener()
    first = built(database, project, listener)
    second = built(database, project, listener, fresh=True)
    function = database.function(project, build_id=first["id"])
    database.rows("update zmesh.functions set build_id = %s where id = %s", second["id"], function)
    [job] = database.enqueue(project) and database.claim(listener)
    assert (job["version"], job["build_id"]) == (2, second["id"])
    database.enqueue(project, version=1)
    [job] = database.claim(listener)
    assert job["build_id"] == first["id"]
    restored = database.row("select * from zmesh.rollback(%s, 1)", function, url=database.api_url)
    assert (restored["version"], restored["build_id"]) == (3, first["id"])


def test_a_function_refers_to_a_successful_build_of_its_own_project_only(database: Database) -> None:
    project, other, listener = database.project(), database.project("other"), database.listener()
    theirs = built(database, other, listener)
    for build in (theirs, request(database, project)):
        with pytest.raises(psycopg.Error, match="does not exist in this project or has not succeeded"):
            database.function(project, build_id=build["id"])


def test_layers_are_found_by_the_project_that_has_built_them_only(database: Database) -> None:
    project, listener = database.project(), database.listener()
    build = built(database, project, listener)
    other = database.project("other").id
    query = "select hash, bytes from zmesh.layer_of(%s, %s)"
    assert database.rows(query, other, build["id"], url=database.listener_url) == []
    assert database.row(query, project.id, build["id"], url=database.listener_url) == {"hash": LAYER, "bytes": 3}
    chunk = "select zmesh.layer_chunk(%s, %s, 0)"
    assert database.value(chunk, other, LAYER, url=database.listener_url) is None
    assert database.value(chunk, project.id, LAYER, url=database.listener_url) == b"abc"


@pytest.mark.parametrize("table", ["builds", "build_logs", "layers", "layer_chunks"])
def test_the_role_of_a_project_reads_no_builds_and_no_layers(database: Database, table: str) -> None:
    project = database.project()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.rows(f"select from zmesh.{table}", url=project.url)


def test_builds_and_layers_are_forgotten_once_nothing_refers_to_them(database: Database) -> None:
    project, listener = database.project(), database.listener()
    kept = built(database, project, listener)
    doomed = request(database, project, fresh=True)
    claim(database, listener)
    succeed(database, listener, doomed, "ef" * 32)
    function = database.function(project, build_id=kept["id"])
    database.rows("update zmesh.functions set build_id = null where id = %s", function)  # version 1 needs it
    forget = "select zmesh.forget_builds()"
    database.rows(forget)
    assert status(database, doomed) == "succeeded"
    database.rows("update zmesh.builds set finished_at = finished_at - interval '2 days'")
    database.rows("update zmesh.layers set created_at = created_at - interval '2 days'")
    database.rows(forget)
    assert [row["id"] for row in database.rows("select id from zmesh.builds")] == [kept["id"]]
    assert [row["hash"] for row in database.rows("select hash from zmesh.layers")] == [LAYER]
    database.rows("delete from zmesh.functions where id = %s", function)
    database.rows(forget)
    assert database.rows("select from zmesh.layer_chunks") == []


def test_a_project_with_builds_and_versions_can_be_deleted(database: Database) -> None:
    project, listener = database.project(), database.listener()
    function = database.function(project, build_id=built(database, project, listener)["id"])
    database.rows("update zmesh.functions set build_id = null where id = %s", function)
    database.rows("delete from zmesh.projects where id = %s", project.id)
    assert database.rows("select from zmesh.builds") == []
