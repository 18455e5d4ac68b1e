"""Changes of tables: passed on in the same transaction, with the rights of the table's owner and no others."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from tests.databases import Database, TestProject

ORDERS = "create table orders (id int primary key, total int not null, note text)"


@pytest.fixture
def project(database: Database) -> TestProject:
    """A project with the function send-receipt and the empty table orders."""
    project = database.project()
    database.function(project, "send-receipt")
    database.rows(ORDERS, url=project.url)
    return project


def run(database: Database, project: TestProject, *statements: str) -> None:
    """Statements of the project's role, one after the other."""
    with database.connect(project.url) as connection:
        for statement in statements:
            connection.execute(statement)


def share(database: Database, project: TestProject, other: TestProject) -> None:
    """Lets another project's role do anything with the table orders but own it."""
    database.rows(f"grant usage on schema {project.schema} to {other.role}")
    database.rows(f"grant all on {project.schema}.orders to {other.role}")


def payloads(database: Database) -> list[Any]:
    return [r["payload"] for r in database.rows("select payload from zmesh.invocations order by payload")]


def test_every_kind_of_change_arrives_as_supabase_sends_it(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt')",
        "insert into orders values (1, 10, 'a')",
        "update orders set total = 20",
        "delete from orders",
    )
    first, second = {"id": 1, "total": 10, "note": "a"}, {"id": 1, "total": 20, "note": "a"}
    about = {"schema": project.schema, "table": "orders"}
    assert payloads(database) == [
        {"type": "DELETE", **about, "record": None, "old_record": second},
        {"type": "INSERT", **about, "record": first, "old_record": None},
        {"type": "UPDATE", **about, "record": second, "old_record": first},
    ]
    assert database.rows("select distinct function, source from zmesh.invocations") == [
        {"function": "send-receipt", "source": "change"}
    ]


def test_a_change_that_is_rolled_back_starts_nothing(database: Database, project: TestProject) -> None:
    run(database, project, "select zmesh.on_change('orders', 'send-receipt', '{INSERT}')")
    with psycopg.connect(project.url) as connection:
        connection.execute("insert into orders values (1, 10)")
        connection.rollback()
    assert payloads(database) == []


def test_only_the_events_that_were_asked_for_are_passed_on(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt', '{insert,DELETE}')",
        "insert into orders values (1, 10)",
        "update orders set total = 20",
        "delete from orders",
    )
    assert sorted(p["type"] for p in payloads(database)) == ["DELETE", "INSERT"]


def test_a_condition_sees_the_rows_before_and_after(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "create table vip (id int); insert into vip values (2)",
        "select zmesh.on_change('orders', 'send-receipt', p_when => 'new.total > coalesce(old.total, 0) + 5"
        " and exists (select from vip where vip.id = new.id) -- big')",
        "insert into orders values (1, 100), (2, 3), (3, 100)",
        "update orders set total = total + 10",
    )
    assert [(p["type"], p["record"]["total"]) for p in payloads(database)] == [("UPDATE", 13)]


def test_with_columns_only_their_changes_count(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "insert into orders values (1, 10), (2, 20)",
        "select zmesh.on_change('orders', 'send-receipt', '{UPDATE}', p_columns => '{total}')",
        "update orders set note = 'x'",
        "update orders set total = 20, note = 'y'",
    )
    assert [p["old_record"]["total"] for p in payloads(database)] == [10]


def test_old_and_new_rows_stay_together_even_when_their_keys_change(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "insert into orders select n, n from generate_series(1, 5000) n",
        "select zmesh.on_change('orders', 'send-receipt', '{UPDATE}')",
        "update orders set id = -id, total = total + 7 where id % 2 = 0",
    )
    found = payloads(database)
    assert len(found) == 2500
    for payload in found:
        new, old = payload["record"], payload["old_record"]
        assert (new["id"], new["total"]) == (-old["id"], old["total"] + 7)


def test_a_partitioned_table_and_moves_between_partitions(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "create table events (id int, kind text) partition by list (kind)",
        "create table events_a partition of events for values in ('a')",
        "create table events_b partition of events for values in ('b')",
        "insert into events select n, 'a' from generate_series(1, 100) n",
        "select zmesh.on_change('events', 'send-receipt', '{UPDATE}')",
        "update events set kind = 'b', id = id + 1000 where id % 3 = 0",
    )
    found = payloads(database)
    assert len(found) == 33
    assert all(p["record"]["id"] == p["old_record"]["id"] + 1000 for p in found)


def test_a_bulk_change_is_one_notification(database: Database, project: TestProject) -> None:
    run(database, project, "select zmesh.on_change('orders', 'send-receipt', '{INSERT}')")
    database.listener()
    with database.connect() as hearing:
        hearing.execute("listen zmesh_queue")
        run(database, project, "insert into orders select n, n from generate_series(1, 1000) n")
        heard = list(hearing.notifies(timeout=1, stop_after=2))
    assert len(heard) == 1
    assert database.value("select count(*) from zmesh.invocations") == 1000


def test_on_change_again_replaces_it_and_off_change_ends_it(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt')",
        "select zmesh.on_change('orders', 'send-receipt', '{UPDATE}', 'new.total > 5', '{total,note}')",
    )
    [seen] = database.rows('select *, "table"::text as name from zmesh.changes', url=project.url)
    assert (seen["name"], seen["function"], seen["events"]) == ("orders", "send-receipt", ["UPDATE"])
    assert (seen["when"], seen["columns"]) == ("new.total > 5", ["total", "note"])
    off = "select zmesh.off_change('orders', 'send-receipt')"
    assert [database.value(off, url=project.url) for _ in range(2)] == [True, False]
    run(database, project, "insert into orders values (1, 10)")
    assert payloads(database) == []
    assert database.rows("select * from zmesh.changes", url=project.url) == []
    assert database.value("select count(*) from pg_proc where proname like 'zmesh\\_change\\_%'") == 0


def test_off_change_prints_no_notices_about_triggers(database: Database, project: TestProject) -> None:
    notices: list[str | None] = []
    with database.connect(project.url) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("select zmesh.on_change('orders', 'send-receipt')")
        connection.execute("select zmesh.on_change('orders', 'send-receipt', '{UPDATE}')")
        connection.execute("select zmesh.off_change('orders', 'send-receipt')")
    assert notices == []


def test_several_functions_hear_of_one_table(database: Database, project: TestProject) -> None:
    database.function(project, "count-orders")
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt', '{INSERT}')",
        "select zmesh.on_change('orders', 'count-orders', '{INSERT}')",
        "insert into orders values (1, 10)",
    )
    rows = database.rows("select function from zmesh.invocations order by function")
    assert [row["function"] for row in rows] == ["count-orders", "send-receipt"]


@pytest.mark.parametrize("gone", ["update zmesh.functions set enabled = false", "delete from zmesh.functions"])
def test_a_function_that_is_off_or_gone_does_not_stop_the_table(
    database: Database, project: TestProject, gone: str
) -> None:
    run(database, project, "select zmesh.on_change('orders', 'send-receipt', '{INSERT}')")
    database.rows(gone)
    run(database, project, "insert into orders values (1, 10)")
    assert payloads(database) == []
    assert database.value("select count(*) from orders", url=project.url) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'orders', 'nobody'", 'function "nobody" does not exist in this project'),
        ("'orders', 'send-receipt', '{TRUNCATE}'", "invalid events: {TRUNCATE}"),
        ("'orders', 'send-receipt', '{}'", "invalid events: {}"),
        (
            "'orders', 'send-receipt', '{INSERT}', 'new.colour = 1'",
            "invalid condition: column new.colour",
        ),
        ("'orders', 'send-receipt', '{INSERT}', 'new.total >'", "invalid condition: syntax error"),
        ("'orders', 'send-receipt', '{UPDATE}', null, '{colour}'", 'orders has no column "colour"'),
        ("'nowhere', 'send-receipt'", 'relation "nowhere" does not exist'),
        ("'zmesh.invocations', 'send-receipt'", "zmesh.invocations is not a table of this role"),
        ("'zmesh.changes', 'send-receipt'", "zmesh.changes is not a table of this role"),
    ],
)
def test_an_invalid_call_is_refused_with_the_reason(
    database: Database, project: TestProject, arguments: str, message: str
) -> None:
    with pytest.raises(psycopg.Error, match=re.escape(message)):
        run(database, project, f"select zmesh.on_change({arguments})")


def test_another_projects_table_is_out_of_reach(database: Database, project: TestProject) -> None:
    other = database.project("other")
    database.function(other, "spy")
    share(database, project, other)
    for attack in (
        f"select zmesh.on_change('{project.schema}.orders', 'spy')",
        f"select zmesh.off_change('{project.schema}.orders', 'send-receipt')",
    ):
        with pytest.raises(psycopg.Error, match="is not a table of this role"):
            run(database, other, attack)


def test_whoever_changes_the_table_the_condition_has_the_owners_rights_only(
    database: Database, project: TestProject
) -> None:
    """The administrator, who may do anything, writes to a table whose condition tells who it runs as."""
    run(
        database,
        project,
        "create table seen (who text)",
        "create function tell() returns boolean language plpgsql as $$"
        " begin insert into seen values (current_user); return true; end $$",
        "select zmesh.on_change('orders', 'send-receipt', '{INSERT}', 'tell()')",
        "truncate seen",
    )
    database.rows(f"insert into {project.schema}.orders values (1, 10)")
    assert database.rows("select who from seen", url=project.url) == [{"who": project.role}]
    assert database.value("select project_id from zmesh.invocations") == project.id


def test_temporary_tables_do_not_fool_a_condition(database: Database, project: TestProject) -> None:
    other = database.project("other")
    run(
        database,
        project,
        "create table vip (id int)",
        "select zmesh.on_change('orders', 'send-receipt', '{INSERT}', 'new.id in (select id from vip)')",
    )
    share(database, project, other)
    run(
        database,
        other,
        "create temporary table vip (id int); insert into vip values (1); grant all on vip to public",
        f"insert into {project.schema}.orders values (1, 10)",
    )
    assert payloads(database) == []


def test_the_trigger_function_cannot_be_called_or_reused_by_others(database: Database, project: TestProject) -> None:
    other = database.project("other")
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt', '{INSERT}')",
    )
    share(database, project, other)
    [found] = database.rows(
        "select p.oid::regproc::text as name from pg_proc p where p.proname like 'zmesh\\_change\\_send%'"
    )
    with pytest.raises(psycopg.Error, match="permission denied for function"):
        run(
            database,
            other,
            "create table bait (id int)",
            "create trigger t after insert on bait referencing new table as new_rows"
            f" for each statement execute function {found['name']}()",
        )


def test_quotes_in_every_name_are_only_names(database: Database, project: TestProject) -> None:
    strange = "o'r\"d;e--r$$s"
    quoted = strange.replace('"', '""')
    with database.connect(project.url) as connection:
        connection.execute(f'create table "{quoted}" ("a""b\'c" int)')
        connection.execute(
            "select zmesh.on_change(%s::regclass, 'send-receipt', '{INSERT,UPDATE}', %s, %s)",
            [f'"{quoted}"', "'$$;' <> ''''", ["a\"b'c"]],
        )
        connection.execute(f'insert into "{quoted}" values (1)')
    [payload] = payloads(database)
    assert (payload["table"], payload["record"]) == (strange, {"a\"b'c": 1})


def test_a_bulk_update_of_a_hundred_thousand_rows_takes_seconds(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "insert into orders select n, n from generate_series(1, 100000) n",
        "select zmesh.on_change('orders', 'send-receipt', '{UPDATE}')",
        "set statement_timeout = '60s'; update orders set total = total + 1",
    )
    assert database.value("select count(*) from zmesh.invocations") == 100000


def test_a_dropped_column_falsifies_nothing(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "create table things (id int, a int, b int, c int)",
        "insert into things values (1, 10, 20, 30)",
        "alter table things drop column a",
        "select zmesh.on_change('things', 'send-receipt', p_columns => '{c}')",
        "update things set b = b",
        "update things set c = 31",
    )
    [payload] = payloads(database)
    assert payload["record"] == {"id": 1, "b": 20, "c": 31}
    assert payload["old_record"] == {"id": 1, "b": 20, "c": 30}


def test_a_column_list_follows_columns_that_are_renamed_and_outlives_those_that_are_dropped(
    database: Database, project: TestProject
) -> None:
    run(
        database,
        project,
        "insert into orders values (1, 10, 'a')",
        "select zmesh.on_change('orders', 'send-receipt', '{UPDATE}', p_columns => '{total,note}')",
        "alter table orders rename total to amount",
        "update orders set amount = 20",
        "alter table orders drop column amount",
        "update orders set id = 2",
        "update orders set note = 'b'",
    )
    assert sorted(p["record"].get("amount", 0) for p in payloads(database)) == [0, 20]
    assert database.rows("select columns from zmesh.changes", url=project.url) == [{"columns": ["total", "note"]}]


def test_a_column_list_takes_columns_whose_type_cannot_be_compared(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "create table places (id int, at point, facts json)",
        "insert into places values (1, '(1,2)', '{}')",
        "select zmesh.on_change('places', 'send-receipt', p_columns => '{at,facts}')",
        "update places set id = 2",
        "update places set at = '(3,4)'",
    )
    assert [p["record"]["at"] for p in payloads(database)] == ["(3,4)"]


@pytest.mark.parametrize("columns", [None, "{body}"])
def test_a_row_too_large_for_a_payload_is_written_and_its_key_arrives(
    database: Database, project: TestProject, columns: str | None
) -> None:
    run(
        database,
        project,
        "create table documents (shelf text, number int, body text, primary key (shelf, number))",
        f"select zmesh.on_change('documents', 'send-receipt', p_columns => {repr(columns) if columns else 'null'})",
        "insert into documents values ('a', 1, repeat('x', 9000000)), ('a', 2, 'short')",
        "update documents set body = repeat('y', 90000000), number = 3 where number = 1",
        "delete from documents where number = 3",
    )
    found = {(p["type"], (p["record"] or {}).get("number")): p for p in payloads(database)}
    assert len(found) == 4
    assert found["INSERT", 2]["record"] == {"shelf": "a", "number": 2, "body": "short"}
    large = found["UPDATE", None]
    assert (large["record"], large["old_record"], large["table"]) == (None, None, "documents")
    assert large["error"] == {
        "code": "row_too_large",
        "message": "The change is larger than a payload may be, which is 8 MiB. Read the row by its primary key.",
        "key": {"shelf": "a", "number": 3},
        "old_key": {"shelf": "a", "number": 1},
    }
    assert found["INSERT", None]["error"]["old_key"] is None
    assert found["DELETE", None]["error"]["key"] is None
    assert found["DELETE", None]["error"]["old_key"] == {"shelf": "a", "number": 3}


def test_a_large_row_of_a_table_without_a_primary_key_says_that_too(database: Database, project: TestProject) -> None:
    run(
        database,
        project,
        "create table notes (body text)",
        "select zmesh.on_change('notes', 'send-receipt')",
        "insert into notes values (repeat('x', 9000000))",
    )
    [payload] = payloads(database)
    assert payload["error"]["key"] is None
    assert "no primary key" in payload["error"]["message"]


@pytest.mark.parametrize(
    "damage",
    [
        "alter table orders drop column note",
        "alter table orders rename note to remark",
        "alter table orders alter column note type jsonb using to_jsonb(note)",
        "drop table vip",
        "alter table vip rename to very_important",
        "alter schema {schema} rename to elsewhere",
    ],
)
def test_a_condition_that_no_longer_fits_the_table_warns_and_breaks_no_write(
    database: Database, project: TestProject, damage: str
) -> None:
    warnings: list[str] = []
    run(
        database,
        project,
        "create table vip (id int)",
        "select zmesh.on_change('orders', 'send-receipt', p_when =>"
        " 'new.note like ''x'' and exists (select from vip)')",
    )
    with database.connect() as connection:
        connection.execute(f"set search_path = {project.schema}")
        connection.execute(damage.format(schema=project.schema))
    with database.connect() as connection:
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
        schema = "elsewhere" if "schema" in damage else project.schema
        connection.execute(f"insert into {schema}.orders (id, total) values (1, 10)")
        connection.execute(f"update {schema}.orders set total = 11")
        assert connection.execute(f"select total from {schema}.orders").fetchone() == {"total": 11}
    assert payloads(database) == []
    assert len(warnings) == 2
    assert 'was not passed on to function "send-receipt"' in warnings[0]


def test_an_error_after_which_all_is_to_be_repeated_is_not_hidden(database: Database, project: TestProject) -> None:
    """A deadlock or a serialization failure: a client that repeats the transaction gets the change passed on."""
    run(
        database,
        project,
        "create function fail() returns boolean language plpgsql as $$"
        " begin if current_setting('a.fails', true) = 'yes' then"
        " raise exception using errcode = '40001'; end if; return true; end $$",
        "select zmesh.on_change('orders', 'send-receipt', p_when => 'fail()')",
    )
    with database.connect(project.url) as connection:
        connection.execute("set a.fails = 'yes'")
        with pytest.raises(psycopg.errors.SerializationFailure):
            connection.execute("insert into orders values (1, 10)")
        connection.execute("set a.fails = 'no'")
        connection.execute("insert into orders values (1, 10)")
    assert len(payloads(database)) == 1


PARTITIONED = (
    "create table events (id int, kind text) partition by list (kind)",
    "create table events_a partition of events for values in ('a')",
    "select zmesh.on_change('events', 'send-receipt', '{events}')",
    "create table events_b partition of events for values in ('b')",
    "create table events_c (kind text, gone int, id int)",
    "alter table events_c drop column gone",
    "alter table events attach partition events_c for values in ('c')",
)


def partitioned(database: Database, project: TestProject, events: str = "INSERT,UPDATE,DELETE") -> None:
    run(database, project, *(statement.replace("{events}", f"{{{events}}}") for statement in PARTITIONED))


def test_rows_written_straight_into_partitions_arrive_under_the_name_of_the_table(
    database: Database, project: TestProject
) -> None:
    partitioned(database, project)
    for kind in "abc":
        run(
            database,
            project,
            f"insert into events_{kind} (id, kind) values (1, '{kind}')",
            f"update events_{kind} set id = 2",
            f"delete from events_{kind}",
        )
    found = payloads(database)
    assert sorted((p["type"], (p["record"] or p["old_record"])["kind"]) for p in found) == [
        (event, kind) for event in ("DELETE", "INSERT", "UPDATE") for kind in "abc"
    ]
    assert {p["table"] for p in found} == {"events"}
    assert all(set(p["record"] or p["old_record"]) == {"id", "kind"} for p in found)


def test_rows_that_move_between_partitions_are_no_inserts_and_no_deletes(
    database: Database, project: TestProject
) -> None:
    partitioned(database, project, "INSERT,DELETE")
    run(
        database,
        project,
        "insert into events values (1, 'a'), (2, 'a')",
        "update events set kind = 'b' where id = 1",
        "with moved as (delete from events_a returning *) insert into events select id, 'c' from moved",
    )
    assert sorted((p["type"], (p["record"] or p["old_record"])["kind"]) for p in payloads(database)) == [
        ("DELETE", "a"),
        ("INSERT", "a"),
        ("INSERT", "a"),
        ("INSERT", "c"),
    ]


def test_a_failed_statement_on_the_table_does_not_silence_its_partitions(
    database: Database, project: TestProject
) -> None:
    partitioned(database, project)
    with psycopg.connect(project.url) as connection:
        with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
            connection.execute("insert into events values (1, 'unknown')")
        connection.execute("insert into events_a values (2, 'a')")
    assert [p["record"]["id"] for p in payloads(database)] == [2]


def test_cascades_merges_and_upserts_of_a_partitioned_table_arrive_once(
    database: Database, project: TestProject
) -> None:
    run(
        database,
        project,
        "create table customers (id int primary key)",
        "create table visits (id int primary key, customer int references customers"
        " on delete cascade on update cascade) partition by range (id)",
        "create table visits_1 partition of visits for values from (0) to (100)",
        "insert into customers values (1), (2), (3)",
        "select zmesh.on_change('visits', 'send-receipt')",
        "insert into visits values (1, 1), (2, 2), (3, 3)",
        "delete from customers where id < 3",
        "update customers set id = 4",
        "insert into visits values (3, 4), (4, 4) on conflict (id) do update set customer = null",
        "merge into visits v using (values (4), (5)) s (id) on v.id = s.id"
        " when matched then delete when not matched then insert values (s.id, null)",
        "insert into visits_1 values (9, null)",
    )
    found = sorted((p["type"], (p["record"] or p["old_record"])["id"]) for p in payloads(database))
    assert found == sorted(
        [("INSERT", id) for id in (1, 2, 3, 4, 5, 9)]
        + [("DELETE", id) for id in (1, 2, 4)]
        + [("UPDATE", 3), ("UPDATE", 3)]
    )


def test_rows_held_back_by_a_trigger_of_the_partition_are_never_paired_wrongly(
    database: Database, project: TestProject
) -> None:
    partitioned(database, project)
    run(
        database,
        project,
        "insert into events select n, 'a' from generate_series(1, 4) n",
        "create function hold_back() returns trigger language plpgsql as $$ begin return null; end $$",
        "create trigger hold_back before insert on events_b for each row execute function hold_back()",
        "update events set id = id + 10, kind = case id when 2 then 'b' else kind end",
    )
    assert database.value("select count(*) from events", url=project.url) == 3
    assert [p["type"] for p in payloads(database)] == ["INSERT"] * 4


def test_a_trigger_of_somebody_else_whose_argument_is_no_json_hides_nothing(
    database: Database, project: TestProject
) -> None:
    run(
        database,
        project,
        "select zmesh.on_change('orders', 'send-receipt')",
        "create function zmesh_change_mine() returns trigger language plpgsql as $$ begin return null; end $$",
        "create trigger mine after insert on orders for each row execute function zmesh_change_mine('not json')",
        "create trigger less after insert on orders for each row execute function zmesh_change_mine('[1]')",
    )
    assert database.rows("select function from zmesh.changes", url=project.url) == [{"function": "send-receipt"}]
    run(database, project, "select zmesh.off_change('orders', 'send-receipt')", "insert into orders values (1, 1)")
    assert payloads(database) == []
