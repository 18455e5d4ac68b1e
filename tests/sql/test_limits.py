"""Limits of functions and of concurrency keys, and what they leave to others."""

from __future__ import annotations

from collections import Counter

from tests.databases import Database


def test_a_functions_limit_is_exact_and_holds_up_no_other_function(database: Database) -> None:
    project = database.project()
    database.function(project, "slow", max_concurrency=2)
    database.function(project, "quick")
    database.enqueue(project, "slow", count=50)
    database.enqueue(project, "quick")
    first, second = database.listener(), database.listener()
    assert Counter(job["slug"] for job in database.claim(first)) == {"slow": 2, "quick": 1}
    assert database.claim(second) == []


def test_a_freed_place_within_a_functions_limit_is_used_again(database: Database) -> None:
    project = database.project()
    database.function(project, max_concurrency=1)
    database.enqueue(project, count=2)
    listener = database.listener()
    [job] = database.claim(listener)
    assert database.claim(listener) == []
    database.finish(listener, job)
    assert len(database.claim(listener)) == 1


def test_a_limit_that_changes_applies_to_what_is_queued_already(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    database.enqueue(project, count=20)
    database.rows("update zmesh.functions set max_concurrency = 3 where id = %s", function)
    listener = database.listener()
    assert len(database.claim(listener)) == 3
    database.rows("update zmesh.functions set max_concurrency = 5 where id = %s", function)
    assert len(database.claim(listener)) == 2
    database.rows("update zmesh.functions set max_concurrency = 1 where id = %s", function)
    assert database.claim(listener) == []
    database.rows("update zmesh.functions set max_concurrency = null where id = %s", function)
    assert len(database.claim(listener, 4)) == 4


def test_one_at_a_time_for_each_key(database: Database) -> None:
    project = database.project()
    database.function(project)
    for customer in ("a", "b"):
        database.enqueue(project, count=5, concurrency_key=customer)
    database.enqueue(project, count=3)
    jobs = database.claim(database.listener(), 50)
    keys = database.rows("select concurrency_key from zmesh.queue where status = 'running'")
    assert len(jobs) == 5
    assert Counter(row["concurrency_key"] for row in keys) == {"a": 1, "b": 1, None: 3}


def test_a_key_may_allow_more_than_one_and_the_functions_limit_still_holds(database: Database) -> None:
    project = database.project()
    database.function(project, max_concurrency_per_key=2, max_concurrency=3)
    for customer in ("a", "b"):
        database.enqueue(project, count=5, concurrency_key=customer)
    assert len(database.claim(database.listener(), 50)) == 3
    keys = database.rows("select concurrency_key from zmesh.queue where status = 'running'")
    assert max(Counter(row["concurrency_key"] for row in keys).values()) <= 2


def test_thousands_of_blocked_keys_do_not_hide_the_one_that_is_free(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.rows("update zmesh.projects set max_running = 500")
    database.rows("update zmesh.settings set max_running = 500")
    database.rows(
        "insert into zmesh.invocations (function, concurrency_key)"
        " select 'greet', 'key ' || n % 200 from generate_series(1, 2000) n",
        url=project.url,
    )
    listener = database.listener()
    assert len(database.claim(listener, 500)) == 200
    assert database.claim(listener, 500) == []
    database.enqueue(project, concurrency_key="free")
    assert len(database.claim(listener, 500)) == 1


def test_every_project_gets_its_turn_while_one_slot_is_free(database: Database) -> None:
    projects = [database.project(name) for name in ("one", "two", "three")]
    for project in projects:
        database.function(project)
        database.enqueue(project, count=40)
    listener = database.listener()
    turns = Counter()
    for _ in range(60):
        [job] = database.claim(listener, 1)
        turns[job["project_id"]] += 1
        database.finish(listener, job)
    assert min(turns[project.id] for project in projects) >= 5


def test_a_listener_takes_as_many_as_it_has_slots_from_many_projects(database: Database) -> None:
    projects = [database.project(f"project {n}") for n in range(12)]
    for project in projects:
        database.function(project)
    database.enqueue(projects[0], count=100)
    for project in projects[1:]:
        database.enqueue(project)
    jobs = database.claim(database.listener(), 40)
    assert len(jobs) == 40
    assert {job["project_id"] for job in jobs} == {project.id for project in projects}
