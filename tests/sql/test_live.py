"""What live views read: a busy project leaves room for the others."""

from __future__ import annotations

import json

from tests.databases import Database

SINCE = "interval '1 minute'"


def test_changes_of_a_busy_project_do_not_displace_those_of_another(database: Database) -> None:
    quiet, busy = database.project("quiet"), database.project("busy")
    for project in (quiet, busy):
        database.function(project)
    ids = set(database.enqueue(quiet, count=3))
    database.enqueue(busy, count=600)
    found = database.rows(
        f"select id, project_id from zmesh.recent_changes(%s, {SINCE}, 100)", [quiet.id, busy.id], url=database.api_url
    )
    assert len(found) == 100
    assert {row["id"] for row in found if row["project_id"] == quiet.id} == ids


def test_endings_and_lines_of_a_busy_project_do_not_displace_those_of_another(database: Database) -> None:
    quiet, busy = database.project("quiet"), database.project("busy")
    listener = database.listener(100)
    for project, count in ((quiet, 1), (busy, 60)):
        database.function(project)
        database.enqueue(project, count=count)
        for job in database.claim(listener, 100):
            lines = [
                {"at": "now", "level": "info", "message": f"line {n}"} for n in range(2 if project is quiet else 50)
            ]
            database.finish(listener, job, "success", logs=json.dumps(lines))
    projects = [quiet.id, busy.id]
    changes = database.rows(f"select * from zmesh.recent_changes(%s, {SINCE}, 20)", projects, url=database.api_url)
    lines = database.rows(f"select * from zmesh.fresh_lines(%s, {SINCE}, 100)", projects, url=database.api_url)
    assert [row["status"] for row in changes if row["project_id"] == quiet.id] == ["success"]
    assert [row["message"] for row in lines if row["project_id"] == quiet.id] == ["line 0", "line 1"]
    assert len(lines) == 100
    assert [row["at"] for row in lines] == sorted(row["at"] for row in lines)
