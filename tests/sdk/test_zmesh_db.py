"""zmesh.db, in both languages, against a real database."""

from __future__ import annotations

import pytest

from tests.sdk.conftest import Bench


def test_query_returns_rows_by_column_name(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.query('select name, age from users where age > $1 order by age', [18])",
        python="return zmesh.db.query('select name, age from users where age > %s order by age', (18,))",
    )
    assert ending.result == [{"name": "Ada", "age": 36}, {"name": "Grace", "age": 85}]


def test_query_one_returns_the_first_row_or_nothing(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const sql = 'select name from users where age > $1 order by age';
            return [await zmesh.db.queryOne(sql, [18]), await zmesh.db.queryOne(sql, [180])]
        """,
        python="""
            sql = 'select name from users where age > %s order by age'
            return [zmesh.db.query_one(sql, [18]), zmesh.db.query_one(sql, [180])]
        """,
    )
    assert ending.result == [{"name": "Ada"}, None]


def test_insert_returns_the_inserted_row_with_what_the_database_filled_in(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.insert('users', { name: 'Linus', age: 28 })",
        python="return zmesh.db.insert('users', {'name': 'Linus', 'age': 28})",
    )
    assert ending.result == {"id": 4, "name": "Linus", "age": 28}
    assert bench.rows("select age from users where name = 'Linus'") == [{"age": 28}]


def test_insert_without_values_takes_the_defaults(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.insert('logs', {})",
        python="return zmesh.db.insert('logs', {})",
    )
    assert ending.result == {"id": 1, "action": None, "detail": None, "tags": None}


def test_select_returns_matching_rows_and_without_condition_all(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const names = (rows) => rows.map((row) => row.name);
            return [
                names(await zmesh.db.select('users', 'age > $1 or name = $2 order by name desc limit 2', [80, 'Ada'])),
                (await zmesh.db.select('users')).length,
            ]
        """,
        python="""
            names = lambda rows: [row["name"] for row in rows]
            return [
                names(zmesh.db.select('users', 'age > %s or name = %s order by name desc limit 2', [80, 'Ada'])),
                len(zmesh.db.select('users')),
            ]
        """,
    )
    assert ending.result == [["Grace", "Ada"], 3]


def test_update_counts_the_parameters_of_its_condition_from_the_start(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            return await zmesh.db.update('users', { name: 'Ada L.', age: 37 }, 'name = $1 and age = $2', ['Ada', 36])
        """,
        python="""
            return zmesh.db.update('users', {'name': 'Ada L.', 'age': 37}, 'name = %s and age = %s', ['Ada', 36])
        """,
    )
    assert ending.result == [{"id": 1, "name": "Ada L.", "age": 37}]
    assert bench.rows("select count(*) as n from users where age = 37") == [{"n": 1}]


def test_remove_deletes_the_matching_rows_and_returns_them(bench: Bench) -> None:
    ending = bench.run(
        javascript="return [await zmesh.db.remove('users', 'age < $1', [18]),"
        " await zmesh.db.remove('users', 'age > 80')]",
        python="return [zmesh.db.remove('users', 'age < %s', [18]), zmesh.db.remove('users', 'age > 80')]",
    )
    assert ending.result == [
        [{"id": 3, "name": "Rahul", "age": 17}],
        [{"id": 2, "name": "Grace", "age": 85}],
    ]
    assert bench.rows("select name from users") == [{"name": "Ada"}]


@pytest.mark.parametrize("where", ["", "   "])
@pytest.mark.parametrize("method", ["update", "remove"])
def test_changing_rows_without_a_condition_is_refused_with_a_hint(bench: Bench, method: str, where: str) -> None:
    arguments = "'users', {\"age\": 1}" if method == "update" else "'users'"
    ending = bench.run(
        javascript=f"await zmesh.db.{method}({arguments}, {where!r})",
        python=f"zmesh.db.{method}({arguments}, {where!r})",
    )
    assert "needs a condition" in ending.error["message"]
    assert "true" in ending.error["message"]
    assert len(bench.rows("select 1 from users where age > 1")) == 3


def test_update_without_values_is_refused(bench: Bench) -> None:
    ending = bench.run(
        javascript="await zmesh.db.update('users', {}, 'true')",
        python="zmesh.db.update('users', {}, 'true')",
    )
    assert ending.error["message"] == "update needs at least one column to set"


def test_a_comment_or_a_literal_in_a_condition_does_no_harm(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            return [
                (await zmesh.db.update('users', { age: 1 }, "name <> 'a$9%' and age > $1 -- more than $2",
                    [80])).length,
                (await zmesh.db.remove('users', "name like 'R%' -- all of them")).length,
            ]
        """,
        python="""
            return [
                len(zmesh.db.update('users', {'age': 1}, "name <> 'a$9%%' and age > %s -- more than $2", [80])),
                len(zmesh.db.remove('users', "name like 'R%' -- all of them")),
            ]
        """,
    )
    assert ending.result == [1, 1]


def test_a_percent_sign_means_itself_where_no_parameters_are_given(bench: Bench) -> None:
    bench.rows('create table "100%" ("a%s" integer)')
    ending = bench.run(
        javascript="""
            await zmesh.db.insert('100%', { 'a%s': 7 });
            await zmesh.db.update('100%', { 'a%s': 8 }, '"a%s" = 7');
            await zmesh.db.update('100%', { 'a%s': 9 }, '"a%s" = $1', [8]);
            return [await zmesh.db.select('100%', '5 % 3 = 2'), await zmesh.db.select('100%', '"a%s" = $1', [9])]
        """,
        python="""
            zmesh.db.insert('100%', {'a%s': 7})
            zmesh.db.update('100%', {'a%s': 8}, '"a%s" = 7')
            zmesh.db.update('100%', {'a%s': 9}, '"a%%s" = %s', [8])
            return [zmesh.db.select('100%', '5 % 3 = 2'), zmesh.db.select('100%', '"a%%s" = %s', [9])]
        """,
    )
    assert ending.result == [[{"a%s": 9}], [{"a%s": 9}]]


def test_a_table_may_be_named_with_its_schema(bench: Bench) -> None:
    ending = bench.run(
        javascript="return (await zmesh.db.select(payload + '.users')).length",
        python="return len(zmesh.db.select(payload + '.users'))",
        payload=bench.project.schema,
    )
    assert ending.result == 3


@pytest.mark.parametrize("name", ['users"; drop table users; --', "users; drop table users", "Users", "users.users.x"])
def test_a_name_is_never_read_as_sql(bench: Bench, name: str) -> None:
    ending = bench.run(
        javascript="""
            const outcomes = [];
            for (const work of [
                () => zmesh.db.select(payload), () => zmesh.db.insert(payload, { name: 'x' }),
                () => zmesh.db.insert('users', { [payload]: 'x' }),
                () => zmesh.db.update('users', { [payload]: 1 }, 'true'),
                () => zmesh.db.remove(payload, 'true'),
            ]) outcomes.push(await work().then(() => 'ran', () => 'refused'));
            return outcomes
        """,
        python="""
            outcomes = []
            for work in [
                lambda: zmesh.db.select(payload), lambda: zmesh.db.insert(payload, {'name': 'x'}),
                lambda: zmesh.db.insert('users', {payload: 'x'}),
                lambda: zmesh.db.update('users', {payload: 1}, 'true'),
                lambda: zmesh.db.remove(payload, 'true'),
            ]:
                try:
                    work()
                    outcomes.append('ran')
                except Exception:
                    outcomes.append('refused')
            return outcomes
        """,
        payload=name,
    )
    assert ending.result == ["refused"] * 5
    assert len(bench.rows("select 1 from users")) == 3


def test_objects_and_lists_go_in_as_jsonb_and_come_back_as_they_were(bench: Bench) -> None:
    value = {"a": [1, {"b": None}], "ü": "\u2028'\"\\"}
    ending = bench.run(
        javascript="""
            const first = await zmesh.db.insert('logs', { detail: payload });
            const [second] = await zmesh.db.update('logs', { detail: [payload, []] }, 'id = $1', [first.id]);
            return [first.detail, second.detail]
        """,
        python="""
            first = zmesh.db.insert('logs', {'detail': payload})
            [second] = zmesh.db.update('logs', {'detail': [payload, []]}, 'id = %s', [first['id']])
            return [first['detail'], second['detail']]
        """,
        payload=value,
    )
    assert ending.result == [value, [value, []]]
    assert bench.rows("select jsonb_typeof(detail) as type from logs") == [{"type": "array"}]


def test_a_list_for_an_array_column_goes_in_as_an_array(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const row = await zmesh.db.insert('logs', { tags: ['a', 'b,"c"', null], detail: [] });
            const found = await zmesh.db.query('select id from logs where id = any($1)', [[row.id, 99]]);
            return [row.tags, row.detail, found.length]
        """,
        python="""
            row = zmesh.db.insert('logs', {'tags': ['a', 'b,"c"', None], 'detail': []})
            found = zmesh.db.query('select id from logs where id = any(%s)', [[row['id'], 99]])
            return [row['tags'], row['detail'], len(found)]
        """,
    )
    assert ending.result == [["a", 'b,"c"', None], [], 1]


def test_an_object_may_be_a_parameter_of_a_query(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.queryOne('select $1::jsonb as it', [{ a: 1 }])",
        python="return zmesh.db.query_one('select %s::jsonb as it', [{'a': 1}])",
    )
    assert ending.result == {"it": {"a": 1}}


def test_any_row_of_common_types_can_be_returned_as_it_is(bench: Bench) -> None:
    sql = """select 1::smallint as small, 9007199254740991::bigint as big, 12.50::numeric as price,
             0.5::float8 as ratio,
        true as yes, null as nothing, 'ä'::text as word, date '2024-02-29' as day, uuid_nil as id,
        timestamptz '2024-02-29 12:30:00.5Z' as at, '{"a": [1]}'::jsonb as doc, array[1, 2]::bigint[] as numbers,
        array['2024-02-29']::date[] as days, array[0.1]::numeric[] as prices
        from (select '00000000-0000-0000-0000-000000000000'::uuid as uuid_nil) x"""
    ending = bench.run(
        javascript=f"return await zmesh.db.queryOne(`{sql}`)", python=f'return zmesh.db.query_one("""{sql}""")'
    )
    row = ending.result
    assert row.pop("at")[:21] == "2024-02-29T12:30:00.5"
    assert row == {
        "small": 1,
        "big": 9007199254740991,
        "price": "12.50",
        "ratio": 0.5,
        "yes": True,
        "nothing": None,
        "word": "ä",
        "day": "2024-02-29",
        "id": "00000000-0000-0000-0000-000000000000",
        "doc": {"a": [1]},
        "numbers": [1, 2],
        "days": ["2024-02-29"],
        "prices": ["0.1"],
    }


def test_a_whole_number_too_large_for_javascript_keeps_its_digits(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.queryOne('select 9007199254740993::bigint as n')",
        python="return zmesh.db.query_one('select 9007199254740993::bigint as n')",
    )
    assert str(ending.result["n"]) == "9007199254740993"


def test_rows_without_columns_are_rows_all_the_same(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const { db } = zmesh;
            const none = await db.query("select from users where age > 100");
            return [await db.query("select from users"), await db.queryOne("select"), none]
        """,
        python="""
            db = zmesh.db
            none = db.query("select from users where age > 100")
            return [db.query("select from users"), db.query_one("select"), none]
        """,
    )
    assert ending.result == [[{}, {}, {}], {}, []]


def test_statements_without_rows_return_none(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.query('create table t (a int)')",
        python="return zmesh.db.query('create table t (a int)')",
    )
    assert ending.result == []


def test_of_several_statements_in_one_text_the_last_ones_rows_are_returned(bench: Bench) -> None:
    ending = bench.run(
        javascript="return await zmesh.db.query('select 1 as a; select 2 as b')",
        python="return zmesh.db.query('select 1 as a; select 2 as b')",
    )
    assert ending.result == [{"b": 2}]


def test_all_of_a_run_shares_one_connection_that_opens_on_first_use(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const pid = async () => (await zmesh.db.queryOne('select pg_backend_pid() as pid')).pid;
            return [await pid(), await pid(), (await zmesh.db.queryOne('show application_name')).application_name]
        """,
        python="""
            pid = lambda: zmesh.db.query_one('select pg_backend_pid() as pid')['pid']
            return [pid(), pid(), zmesh.db.query_one('show application_name')['application_name']]
        """,
    )
    first, second, name = ending.result
    assert first == second
    assert name == "zmesh send-welcome"
    unused = bench.run(
        javascript="return 1", python="return 1", context={"database_url": "postgresql://x@127.0.0.1:1/x"}
    )
    assert unused.result == 1


def test_an_error_of_the_database_names_its_class_and_the_users_line(bench: Bench) -> None:
    ending = bench.run(
        javascript="await zmesh.db.query('select * from nowhere')",
        python="zmesh.db.query('select * from nowhere')",
    )
    error = ending.error
    assert error["type"] == {"javascript": "DatabaseError", "python": "UndefinedTable"}[bench.language]
    assert 'relation "nowhere" does not exist' in error["message"]
    assert {"javascript": "send-welcome.js:2:", "python": 'send-welcome.py", line 2'}[bench.language] in error["stack"]


def test_after_a_lost_connection_the_next_statement_opens_a_new_one(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const lost = await zmesh.db.query('select pg_terminate_backend(pg_backend_pid())')
                .then(() => false, () => true);
            return [lost, (await zmesh.db.queryOne('select 1 as n')).n]
        """,
        python="""
            try:
                zmesh.db.query('select pg_terminate_backend(pg_backend_pid())')
                lost = False
            except Exception:
                lost = True
            return [lost, zmesh.db.query_one('select 1 as n')['n']]
        """,
    )
    assert ending.result == [True, 1]


def test_a_driver_of_ones_own_gets_the_connection_string(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const { Client } = require('pg');
            const client = new Client({ connectionString: zmesh.db.url });
            await client.connect();
            return (await client.query('select count(*) as n from users')).rows
        """,
        python="""
            import psycopg2
            with psycopg2.connect(zmesh.db.url) as connection, connection.cursor() as cursor:
                cursor.execute('select count(*) as n from users')
                return [{'n': str(cursor.fetchone()[0])}]
        """,
    )
    assert ending.result == [{"n": "3"}]


def test_the_other_languages_spelling_works_too(bench: Bench) -> None:
    ending = bench.run(
        javascript="return [(await zmesh.db.query_one('select 1 as n')).n, zmesh.project_id === zmesh.projectId]",
        python="return [zmesh.db.queryOne('select 1 as n')['n'], zmesh.projectId == zmesh.project_id]",
    )
    assert ending.result == [1, True]
