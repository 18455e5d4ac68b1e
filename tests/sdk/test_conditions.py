"""Conditions given as objects, columns left out, and statements that the helpers refuse, in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sdk.conftest import Bench

CONDITIONS: list[tuple[Any, list[str]]] = [
    ({"id": 1}, ["Ada"]),
    ({"name": "Grace", "age": 85}, ["Grace"]),
    ({"name": "Grace", "age": 1}, []),
    ({"age": None}, ["Nobody"]),
    ({"age": [36, 17]}, ["Ada", "Rahul"]),
    ({"age": [17, None]}, ["Rahul", "Nobody"]),
    ({"age": [None]}, ["Nobody"]),
    ({"age": []}, []),
    ({"name": ["Ada", 'a,"b"\\']}, ["Ada"]),
    ({"id": "2"}, ["Grace"]),
    ({}, ["Ada", "Grace", "Rahul", "Nobody"]),
]


@pytest.fixture
def people(bench: Bench) -> Bench:
    bench.rows("insert into users (name) values ('Nobody')")
    return bench


@pytest.mark.parametrize(("where", "names"), CONDITIONS, ids=str)
def test_select_takes_an_object_as_equality_of_columns(people: Bench, where: Any, names: list[str]) -> None:
    ending = people.run(
        javascript="return (await zmesh.db.select('users', payload)).map((row) => row.name)",
        python="return [row['name'] for row in zmesh.db.select('users', payload)]",
        payload=where,
    )
    assert ending.result == names


@pytest.mark.parametrize(("where", "names"), CONDITIONS[:-1], ids=str)
def test_update_and_remove_take_an_object_as_equality_of_columns(people: Bench, where: Any, names: list[str]) -> None:
    people.rows("alter table users add seen boolean")
    ending = people.run(
        javascript="""
            const updated = await zmesh.db.update('users', { seen: true }, payload);
            const removed = await zmesh.db.remove('users', payload);
            return [updated, removed].map((rows) => rows.map((row) => row.name))
        """,
        python="""
            updated = zmesh.db.update('users', {'seen': True}, payload)
            removed = zmesh.db.remove('users', payload)
            return [[row['name'] for row in rows] for rows in (updated, removed)]
        """,
        payload=where,
    )
    assert ending.result == [names, names]
    left = [row["name"] for row in people.rows("select name from users")]
    assert left == [name for name in ("Ada", "Grace", "Rahul", "Nobody") if name not in names]


def test_a_column_of_any_name_may_be_in_a_condition_object(bench: Bench) -> None:
    bench.rows('create table odd ("50%""s" integer)')
    bench.rows("insert into odd values (1), (2)")
    ending = bench.run(
        javascript="""return [await zmesh.db.select('odd', payload), await zmesh.db.update('odd', payload, payload)]""",
        python="""return [zmesh.db.select('odd', payload), zmesh.db.update('odd', payload, payload)]""",
        payload={'50%"s': 2},
    )
    assert ending.result == [[{'50%"s': 2}], [{'50%"s': 2}]]


def test_an_object_in_a_condition_is_compared_as_jsonb(bench: Bench) -> None:
    bench.rows("""insert into logs (action, detail) values ('a', '{"x": [1]}'), ('b', '5')""")
    ending = bench.run(
        javascript="""return [await zmesh.db.select('logs', { detail: { x: [1] } }),
            await zmesh.db.select('logs', { detail: 5 })].map((rows) => rows.map((row) => row.action))""",
        python="""return [[row['action'] for row in zmesh.db.select('logs', {'detail': value})]
            for value in ({'x': [1]}, 5)]""",
    )
    assert ending.result == [["a"], ["b"]]


@pytest.mark.parametrize("method", ["update", "remove"])
def test_an_empty_condition_object_changes_nothing(bench: Bench, method: str) -> None:
    data = "{'name': 'x'}, " if method == "update" else ""
    call = f"zmesh.db.{method}('users', {data}{{}})"
    ending = bench.run(javascript=f"await {call}", python=call)
    assert ending.error["message"].startswith(f"{method} needs a condition")
    assert len(bench.rows("select 1 from users where name <> 'x'")) == 3


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("5", "the condition of select must be text, or"),
        ("['id']", "the condition of select must be text, or"),
        ("{'id': 1}, [2]", "params apply only to a condition in SQL"),
        ("{'id': [[1], [2]]}", 'the condition\'s list for "id" contains a list'),
        ("{'nowhere': 1}", 'column "nowhere" does not exist'),
        ("{'id': 'x'}", "invalid input syntax for type bigint"),
        ("{'id': 1.5}", "invalid input syntax for type bigint"),
    ],
)
def test_a_condition_of_another_kind_is_refused(bench: Bench, condition: str, why: str) -> None:
    call = f"zmesh.db.select('users', {condition})"
    assert why in bench.run(javascript=f"return await {call}", python=f"return {call}").error["message"]


@pytest.mark.parametrize("language", ["javascript"])
@pytest.mark.parametrize("method", ["select", "update", "remove"])
def test_a_condition_on_undefined_is_refused_not_left_out(bench: Bench, method: str) -> None:
    data = "{ name: 'x' }, " if method == "update" else ""
    call = f"return await zmesh.db.{method}('users', {data}{{ id: payload.id }})"
    ending = bench.run(javascript=call, python="", payload={})
    assert 'value for "id" is undefined' in ending.error["message"]
    assert len(bench.rows("select 1 from users where name <> 'x'")) == 3


@pytest.mark.parametrize("language", ["javascript"])
def test_undefined_leaves_a_column_out(bench: Bench) -> None:
    bench.rows("alter table users alter age set default 5")
    ending = bench.run(
        javascript="""
            const why = (error) => error.message;
            const [updated] = await zmesh.db.update('users', { name: 'Ada L.', age: undefined }, { id: 1 });
            const inserted = await zmesh.db.insert('users', { name: 'Eve', age: undefined });
            const nothing = await zmesh.db.update('users', { age: undefined }, { id: 1 }).catch(why);
            const parameter = await zmesh.db.query('select $1::int', [undefined]).catch(why);
            return [updated.age, inserted.age, nothing, parameter]
        """,
        python="",
    )
    assert ending.result == [
        36,
        5,
        "update needs at least one column to set",
        "parameter $1 is undefined: pass null for SQL's null",
    ]


@pytest.mark.parametrize("language", ["javascript"])
@pytest.mark.parametrize("data", ["new Map([['name', 'x']])", "Promise.resolve({ name: 'x' })", "new Date()", "[1]"])
def test_data_that_shows_no_columns_is_refused(bench: Bench, data: str) -> None:
    ending = bench.run(javascript=f"await zmesh.db.insert('logs', {data})", python="")
    assert ending.error["message"] == "data must be an object of column names and values"
    assert bench.rows("select 1 from logs") == []


@pytest.mark.parametrize(
    "copy",
    [
        "copy users to stdout",
        "copy (select g from generate_series(1, 200000) g) to stdout",
        "copy users (name) from stdin",
        "copy users to stdout; select 1",
        "select 1; copy users (name) from stdin; select 2",
        "copy users to stdout; copy logs to stdout; select 2",
    ],
)
def test_after_a_copy_is_refused_later_statements_run(bench: Bench, copy: str) -> None:
    ending = bench.run(
        javascript="""
            const why = await zmesh.db.query(payload).catch((error) => error.message);
            return [why, await zmesh.db.query('select 1 as n')]
        """,
        python="""
            try:
                why = zmesh.db.query(payload)
            except Exception as error:
                why = str(error)
            return [why, zmesh.db.query('select 1 as n')]
        """,
        payload=copy,
    )
    why, after = ending.result
    assert "zmesh.db cannot run" in why
    assert "zmesh.db.url" in why
    assert after == [{"n": 1}]
    assert len(bench.rows("select 1 from users")) == 3


def test_a_copy_refused_in_a_transaction_can_be_caught(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            await zmesh.db.transaction(async (tx) => {
                await tx.insert('logs', { action: 'kept' });
                await tx.query('copy users to stdout').catch(() => {});
            })
        """,
        python="""
            with zmesh.db.transaction() as tx:
                tx.insert('logs', {'action': 'kept'})
                try:
                    tx.query('copy users to stdout')
                except TypeError:
                    pass
        """,
    )
    assert ending.result is None
    assert bench.rows("select action from logs") == [{"action": "kept"}]
