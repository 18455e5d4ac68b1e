"""Sessions and projects are limited, so that everybody gets a place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from sql import accounts
from support.sealing import Sealer
from tests.databases import Database, TestProject
from tests.own_server import own_server
from tests.platform import eventually


def limit_of(database: Database, project: TestProject) -> int:
    limit: int = database.value("select rolconnlimit from pg_roles where rolname = %s", project.role)
    return limit


def usable(database: Database) -> int:
    """What the server takes from roles without reserved connections."""
    reserved = database.rows("select setting::integer as n from pg_settings where name ~ 'reserved_connections$'")
    total: int = database.value("select current_setting('max_connections')::integer")
    return total - sum(row["n"] for row in reserved)


def test_a_project_gets_a_quarter_of_the_servers_connections(database: Database) -> None:
    assert limit_of(database, database.project()) == min(100, usable(database) // 4)


def test_connection_limits_follow_the_setting_and_are_repaired_by_maintenance(database: Database) -> None:
    project = database.project()
    default = limit_of(database, project)
    database.rows("select zmesh.limit_connections(%s, 7)", project.id)
    assert limit_of(database, project) == 7
    database.rows(f"alter role {project.role} connection limit 90")  # as one of an earlier version has
    database.rows("select zmesh.maintain()", url=database.listener_url)
    assert limit_of(database, project) == 7
    database.rows("select zmesh.limit_connections(%s, null)", project.id)
    assert limit_of(database, project) == default


@contextmanager
def sessions(project: TestProject, count: int) -> Iterator[list[psycopg.Connection[object]]]:
    with ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(project.url, autocommit=True)) for _ in range(count)]


@pytest.fixture
def server_of_its_own(tmp_path: Path) -> Iterator[Database]:
    """A database where nobody else has sessions."""
    with own_server(tmp_path) as (_, database):
        yield database


def open_ones(connections: list[psycopg.Connection[object]]) -> list[int]:
    """Places in the list of those that still answer."""
    found = []
    for place, connection in enumerate(connections):
        try:
            connection.execute("select 1")
            found.append(place)
        except psycopg.OperationalError:
            pass
    return found


def test_when_connections_run_short_each_project_keeps_its_share_and_idle_ones_end_first(
    server_of_its_own: Database,
) -> None:
    database = server_of_its_own
    owner, victim = [database.project(name) for name in ("one", "two", "three", "four")], database.project("victim")
    share = usable(database) * 4 // 5 // len(owner)
    each = usable(database) * 9 // 10 // len(owner) + 1  # of four: more than nine tenths of all
    with database.connect(database.listener_url) as watch, ExitStack() as stack:
        held = [stack.enter_context(sessions(project, each)) for project in owner]
        busy = held[0][0]
        busy.execute("begin")
        with pytest.raises(psycopg.OperationalError), sessions(victim, each):  # so few are left
            pass
        theirs = "select 1 from pg_stat_activity where usename = %s"
        eventually(lambda: not database.rows(theirs, victim.role), "the end of the victim's sessions")

        left = "select 1 from pg_stat_activity where backend_type = 'client backend' having count(*)"
        most = len(owner) * share + 5 + 2
        ended = watch.execute("select zmesh.end_harmful_sessions() as said").fetchall()

        assert len(ended) == len(owner) * (each - share)
        for connections in held:
            assert len(open_ones(connections)) == share
        with sessions(victim, 5) as got:
            assert len(open_ones(got)) == 5
            eventually(lambda: database.rows(f"{left} <= %s", most), "the end of those sessions on the server")
            assert watch.execute("select zmesh.end_harmful_sessions() as said").fetchall() == []


def test_while_there_are_connections_enough_none_is_ended(database: Database) -> None:
    project = database.project()
    with sessions(project, limit_of(database, project)) as held:
        assert database.rows("select zmesh.end_harmful_sessions()", url=database.listener_url) == []
        assert len(open_ones(held)) == len(held)


def test_a_role_whose_sessions_keep_blocking_the_platform_is_closed_for_a_minute(database: Database) -> None:
    attacker, neighbour = database.project("eve"), database.project("bob")
    default = limit_of(database, attacker)
    with sessions(attacker, 2) as held, sessions(neighbour, 1) as others:
        for _ in range(4):
            assert database.rows("select zmesh.close_offenders(array[%s::name])", attacker.role) == []
        assert len(open_ones(held)) == 2
        [said] = database.rows("select zmesh.close_offenders(array[%s::name]) as said", attacker.role)
        assert said["said"].startswith(attacker.role)
        eventually(lambda: not open_ones(held), "the end of its sessions")
        assert len(open_ones(others)) == 1
    with pytest.raises(psycopg.OperationalError, match="too many connections"), sessions(attacker, 1):
        pass
    database.rows("select zmesh.maintain()", url=database.listener_url)
    assert limit_of(database, attacker) == 0
    database.rows("update zmesh.offences set at = at - interval '1 minute'")
    database.rows("update zmesh.upkeep set last_run_at = null")
    database.rows("select zmesh.maintain()", url=database.listener_url)
    assert limit_of(database, attacker) == default


def owned(connection: psycopg.Connection[object], new: accounts.NewProject, user: UUID) -> None:
    """Create a project that this user owns."""
    values = (new.name, new.role_name, new.schema_name, new.verifier, new.sealed_password, user)
    connection.execute("select zmesh.create_project(%s, %s, %s, %s, %s, %s)", values)


def test_a_user_owns_no_more_projects_than_the_settings_allow(database: Database) -> None:
    sealer = Sealer(database.secret_key)
    database.rows("update zmesh.settings set max_projects_per_owner = 2")
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        user = accounts.ensure_user(connection, "ada@example.com", "password of ada")
        first, second, third = (accounts.NewProject.of(f"project {n}", sealer) for n in range(3))
        owned(connection, first, user)
        owned(connection, second, user)
        database.remember_roles()
        with pytest.raises(psycopg.Error, match="a user may own at most 2 projects") as refused:
            owned(connection, third, user)
        assert refused.value.sqlstate == "ZM409"
    other = database.project("other")
    database.rows("insert into zmesh.memberships values (%s, %s, 'developer')", user, other.id)
    with pytest.raises(psycopg.Error) as refused:  # nor by being made the owner of somebody else's
        database.rows("select zmesh.change_member(%s, %s, 'owner')", other.id, user, url=database.api_url)
    assert refused.value.sqlstate == "ZM409"
