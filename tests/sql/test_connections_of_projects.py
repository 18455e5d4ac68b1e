"""Sessions and projects are limited, so that everybody gets a place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
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


def offend(database: Database, project: TestProject, seconds_ago: float) -> None:
    """As if a session had been ended so long ago."""
    database.rows(
        "insert into zmesh.ended_sessions values (%s, (random() * 1e9)::integer, now(),"
        " now() - make_interval(secs => %s), 'held a lock that others waited for', true)",
        project.role,
        seconds_ago,
    )


def make_time_pass(database: Database, minutes: float) -> None:
    """And maintain what is due then."""
    database.rows("update zmesh.ended_sessions set ended_at = ended_at - make_interval(secs => %s)", minutes * 60)
    database.rows("update zmesh.upkeep set last_run_at = null")
    database.rows("select zmesh.maintain()", url=database.listener_url)


CLOSE = "select zmesh.close_offenders() as said"


def test_a_role_whose_sessions_keep_blocking_the_platform_is_closed_for_a_minute(database: Database) -> None:
    attacker, neighbour = database.project("eve"), database.project("bob")
    default = limit_of(database, attacker)
    with sessions(attacker, 2) as held, sessions(neighbour, 1) as others:
        for second in range(4):
            offend(database, attacker, 2 * second)
            assert database.rows(CLOSE) == []
        assert len(open_ones(held)) == 2
        offend(database, attacker, 8)
        [said] = database.rows(CLOSE)
        assert said["said"].startswith(f"{attacker.role} cannot sign in for 1 min")
        eventually(lambda: not open_ones(held), "the end of its sessions")
        assert len(open_ones(others)) == 1
    with pytest.raises(psycopg.OperationalError, match="too many connections"), sessions(attacker, 1):
        pass
    assert database.rows(CLOSE) == [], "it is said once"
    make_time_pass(database, 0.9)
    assert limit_of(database, attacker) == 0
    make_time_pass(database, 0.1)
    assert limit_of(database, attacker) == default


def test_a_role_that_blocks_the_platform_again_is_closed_for_longer(database: Database) -> None:
    attacker = database.project("eve")
    for time_before in range(3):
        for second in range(5):
            offend(database, attacker, 2 * second)
        [said] = database.rows(CLOSE)
        assert f"for {time_before + 1} min" in said["said"]
        make_time_pass(database, time_before + 0.9)
        assert limit_of(database, attacker) == 0
        make_time_pass(database, 0.1)
        assert limit_of(database, attacker) > 0


def test_sessions_that_are_ended_in_the_same_second_are_one_offence(database: Database) -> None:
    """However many there are, and however many listeners find them."""
    project = database.project()
    for _ in range(20):
        offend(database, project, 1)
    assert database.rows(CLOSE) == []
    with sessions(project, 1) as [held]:
        pid, started = held.info.backend_pid, "select backend_start from pg_stat_activity where pid = %s"
        at: object = database.value(started, pid)
        told = [database.value("select zmesh.end_session(%s, %s, 'x', true)", pid, project.role) for _ in range(3)]
        assert [text is None for text in told] == [False, True, True]
    assert database.value("select count(*) from zmesh.ended_sessions where started_at = %s", at) == 1


def test_a_project_reads_which_of_its_sessions_were_ended_and_why(database: Database) -> None:
    project, neighbour = database.project(), database.project("bob")
    with closing(psycopg.connect(project.url)) as held:
        held.execute("lock table zmesh.schedules")
        waiting = threading.Thread(
            target=database.rows, args=("select zmesh.tick()",), kwargs={"url": database.admin_url}
        )
        waiting.start()
        eventually(
            lambda: database.rows("select zmesh.end_harmful_sessions()", url=database.listener_url), "the end of it"
        )
        waiting.join(60)
        read = "select pid, why, is_offence from zmesh.ended_sessions"
        why = {"why": "held a lock that others waited for", "is_offence": True}
        assert database.rows(read, url=project.url) == [{"pid": held.info.backend_pid, **why}]
        assert database.rows(read, url=neighbour.url) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.rows("delete from zmesh.ended_sessions", url=project.url)


def test_a_role_with_a_session_that_does_not_end_is_closed_until_it_does(database: Database) -> None:
    """PostgreSQL interrupts no position(): such a session can hold a lock or keep notifications for hours."""
    attacker = database.project("eve")
    default = limit_of(database, attacker)
    pid = "select pg_backend_pid() as pid"
    with sessions(attacker, 1) as [other], database.connect() as remaining:
        # An administrator's session stands in for it, since nothing in a test may stay for long.
        [row] = remaining.execute(pid).fetchall()
        database.rows(
            "insert into zmesh.ended_sessions select %s, pid, backend_start, now() - interval '11 seconds', 'x', false"
            " from pg_stat_activity where pid = %s",
            attacker.role,
            row["pid"],
        )
        [said] = database.rows(CLOSE)
        assert f"until its process {row['pid']} has ended" in said["said"]
        eventually(lambda: not open_ones([other]), "the end of its other session")
        warned = database.rows("select problem from zmesh.warnings()", url=database.listener_url)
        assert any(f"process {row['pid']} of {attacker.role}" in warning["problem"] for warning in warned)
        make_time_pass(database, 24 * 60 + 1)
        assert limit_of(database, attacker) == 0
    there = "select 1 from pg_stat_activity where pid = %s"
    eventually(lambda: not database.rows(there, row["pid"]), "the end of the session")
    make_time_pass(database, 1)
    assert limit_of(database, attacker) == default
    assert database.rows("select 1 from zmesh.ended_sessions") == []


def test_a_role_that_is_being_altered_keeps_no_other_closed(database: Database) -> None:
    attacker, neighbour = database.project("eve"), database.project("bob")
    default = limit_of(database, neighbour)
    for project in (attacker, neighbour):
        database.rows(f"alter role {project.role} connection limit 7")
    with psycopg.connect(attacker.url) as session:
        session.execute("alter role current_user password 'another'")
        database.rows("select zmesh.maintain()", url=database.listener_url)
        session.rollback()
    assert (limit_of(database, attacker), limit_of(database, neighbour)) == (7, default)


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
