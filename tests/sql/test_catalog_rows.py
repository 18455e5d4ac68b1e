"""Rows of PostgreSQL's own tables: a GRANT changes one, even if its author may grant nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
import pytest

from tests.autovacuum import eager_autovacuum
from tests.databases import Database, TestProject
from tests.platform import eventually


@pytest.fixture
def eager(server: str) -> Iterator[None]:
    with eager_autovacuum(server):
        yield


def grant_on_database(database: Database) -> str:
    return f"grant connect on database {database.value('select current_database()')} to public"


@contextmanager
def granting_nothing(database: Database, project: TestProject, statement: str) -> Iterator[psycopg.Connection[object]]:
    """A session that has changed a row of a catalog and does not commit."""
    with closing(psycopg.connect(project.url)) as session:
        session.execute(statement.encode())
        yield session


def has_ended(session: psycopg.Connection[object]) -> bool:
    try:
        session.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.usefixtures("eager")
def test_a_worker_that_waits_for_the_row_of_the_database_is_freed(database: Database) -> None:
    attacker = database.project("eve")
    database.rows(
        "create or replace function zmesh.patience_with_vacuum_blockers() returns interval"
        " language sql return interval '0 s'"
    )
    waits = (
        "select 1 from pg_stat_activity where backend_type = 'autovacuum worker' and datname = current_database()"
        " and wait_event_type = 'Lock'"
    )
    with granting_nothing(database, attacker, grant_on_database(database)) as session:
        database.rows("create table public.busy (id integer)")
        database.rows("insert into public.busy select generate_series(1, 5000)")
        eventually(lambda: database.rows(waits), "a worker that waits")

        ended = eventually(
            lambda: database.rows("select zmesh.end_vacuum_blockers() as said", url=database.listener_url), "an end"
        )

        assert attacker.role in ended[0]["said"]
        assert has_ended(session)
    eventually(lambda: not database.rows(waits), "the worker")


def test_an_administrator_who_waits_for_the_row_of_a_function_of_the_platform_is_served(database: Database) -> None:
    """As `zmesh migrate` does, when it replaces one."""
    attacker = database.project("eve")
    statement = "grant execute on function zmesh.now() to public"
    source: str = database.value("select pg_get_functiondef('zmesh.now()'::regprocedure)")
    with granting_nothing(database, attacker, statement) as session:
        migration = threading.Thread(target=database.rows, args=(source,))
        migration.start()
        harmful = "select role_name from zmesh.harmful_sessions()"
        [found] = eventually(lambda: database.rows(harmful), "the wait")
        assert found["role_name"] == attacker.role
        database.rows("select zmesh.end_harmful_sessions()", url=database.listener_url)
        migration.join(60)
        assert has_ended(session)


def test_projects_are_created_and_deleted_while_others_change_the_row_of_the_database(database: Database) -> None:
    attacker = database.project("eve")
    stop = threading.Event()
    statement = grant_on_database(database)

    def grant() -> None:
        with database.connect(attacker.url) as session:
            session.execute("set client_min_messages = error")
            while not stop.is_set():
                with suppress(psycopg.errors.InternalError_):  # another one was faster
                    session.execute(statement.encode())

    granting = [threading.Thread(target=grant) for _ in range(4)]
    for thread in granting:
        thread.start()
    try:
        for number in range(15):
            project = database.project(f"shop {number}")
            assert database.value("select zmesh.delete_project(%s)", project.id) is True
            assert not database.rows("select from pg_roles where rolname = %s", project.role)
    finally:
        stop.set()
        for thread in granting:
            thread.join()
