"""What becomes of each kind of value, in each language and direction. docs/reference/values.md shows these tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Refused:
    """An error, by words of its message."""

    words: str


Outcome = Any  # a JSON value, or Refused
BYTES = Refused("bytes are not JSON")
NO_JSON = Refused("has no JSON form")

RETURNED: dict[str, list[tuple[str, Outcome]]] = {
    "javascript": [
        ("undefined", None),
        ("null", None),
        ("true", True),
        ("1.5", 1.5),
        ("-0", 0),
        ("9007199254740991", 9007199254740991),
        ("NaN", Refused("NaN is not a JSON number")),
        ("[1, Infinity]", Refused("Infinity is not a JSON number")),
        ("12n", Refused("a BigInt is not JSON")),
        ('"ü😀"', "ü😀"),
        ('Symbol("a")', Refused("a symbol is not JSON")),
        ("() => 1", Refused("a function is not JSON")),
        ("[() => 1]", Refused("a function is not JSON")),
        ("{ a: () => 1, b: undefined, c: 1 }", {"c": 1}),
        ("[undefined, , 1]", [None, None, 1]),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Date(NaN)", Refused("an invalid Date is not JSON")),
        ("{ at: [new Date(NaN)] }", Refused("an invalid Date is not JSON")),
        ("new Set([1, 2])", [1, 2]),
        ('new Map([["a", 1], [2, new Set()]])', {"a": 1, "2": []}),
        ('new Map([[1, "a"], ["1", "b"]])', Refused("two keys of a Map have the same text")),
        ("new Map([[{}, 1]])", Refused("keys of a Map must be text")),
        ('Buffer.from("a")', BYTES),
        ("new Uint8Array(2)", BYTES),
        ("{ a: new Float64Array(2) }", BYTES),
        ("new ArrayBuffer(2)", BYTES),
        ("new SharedArrayBuffer(2)", BYTES),
        ('new Blob(["a"])', BYTES),
        ('new URL("https://a.example/b?c")', "https://a.example/b?c"),
        ('new Error("boo")', Refused('an Error is not JSON: throw it, or return its message ("boo")')),
        ("{ later: Promise.resolve(1) }", Refused("a Promise is not JSON: await it")),
        ("/a/", NO_JSON),
        ("new WeakMap()", NO_JSON),
        ('{ to: new Headers({ a: "b" }) }', NO_JSON),
        ("new (class Point { x = 1 })()", {"x": 1}),
        ("new (class Secret { #x = 1 })()", NO_JSON),
        ("{ toJSON: () => 5 }", 5),
        ('{ get x() { throw new Error("trap") } }', Refused("trap")),
        ("new Number(5)", 5),
        ("Object.create(null)", {}),
        ("(() => { const a = []; a.push(a); return a; })()", Refused("it contains itself")),
        ("(() => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a; })()", Refused("nested too deeply")),
    ],
    "python": [
        ("None", None),
        ("True", True),
        ("1.5", 1.5),
        ("-0.0", -0.0),
        ("2**64", 2**64),
        ("10**5000", Refused("4300 digits")),
        ("float('nan')", Refused("NaN and Infinity are not JSON numbers")),
        ("[1, float('inf')]", Refused("NaN and Infinity are not JSON numbers")),
        ("'ü😀'", "ü😀"),
        ("(1, (2, 3))", [1, [2, 3]]),
        ("{5}", [5]),
        ("frozenset()", []),
        ("{1: 'a', None: 'b', 1.5: 'c'}", {"1": "a", "null": "b", "1.5": "c"}),
        ("{1: 'a', '1': 'b'}", Refused("two keys of a dict have the same text")),
        ("{(1, 2): 3}", Refused("keys must be")),
        ("types.MappingProxyType({'a': 1})", {"a": 1}),
        ("datetime(2024, 2, 29, 12, 30)", "2024-02-29T12:30:00"),
        ("datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=2)))", "2024-02-29T00:00:00+02:00"),
        ("date(2024, 2, 29)", "2024-02-29"),
        ("time(1, 2)", "01:02:00"),
        ("timedelta(hours=30)", "P1DT21600S"),
        ("Decimal('1.10')", "1.10"),
        ("Decimal('NaN')", "NaN"),
        ("UUID(int=5)", "00000000-0000-0000-0000-000000000005"),
        ("ipaddress.ip_network('10.0.0.0/8')", "10.0.0.0/8"),
        ("PurePosixPath('/a/b')", "/a/b"),
        ("enum.Enum('Color', {'RED': 'r'}).RED", "r"),
        ("enum.IntEnum('Level', {'HIGH': 3}).HIGH", 3),
        ("namedtuple('Point', 'x y')(1, 2)", [1, 2]),
        ("make_dataclass('Point', ['x', 'y'])(1, Decimal('2'))", {"x": 1, "y": "2"}),
        ("type('Model', (), {'model_dump': lambda self: {'a': date(2024, 1, 1)}})()", {"a": "2024-01-01"}),
        ("Range(1, 5)", "[1,5)"),
        ("Range(None, Decimal('2.5'), '(]')", "(,2.5]"),
        ("Range(empty=True)", "empty"),
        ("Range('a b', 'c\"')", '["a b","c""")'),
        ("Multirange([Range(1, 3), Range(5, None)])", "{[1,3),[5,)}"),
        ("b'a'", BYTES),
        ("bytearray(b'a')", BYTES),
        ("{'a': memoryview(b'a')}", BYTES),
        ("object()", Refused("an object of type object is not JSON")),
        ("ValueError('boo')", Refused("an object of type ValueError is not JSON")),
        ("lambda: 1", Refused("an object of type function is not JSON")),
        ("range(3)", Refused("an object of type range is not JSON")),
        ("(lambda a: a.append(a) or a)([])", Refused("it contains itself")),
    ],
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A value for a column of a type, and the column's text afterwards; `query`: of a parameter with a cast."""

    type: str
    value: str
    text: Outcome
    query: Outcome = ...  # as text, where nothing is said

    @property
    def by_query(self) -> Outcome:
        return self.text if self.query is ... else self.query


def _stored(rows: Iterable[tuple[Any, ...]]) -> list[Stored]:
    return [Stored(*row) for row in rows]


JSON_TYPE = Refused("invalid input syntax for type json")
STORED: dict[str, list[Stored]] = {
    "javascript": _stored([
        ("integer", "5", "5"),
        ("integer", "1.5", Refused("invalid input syntax for type integer")),
        ("integer", "NaN", Refused("invalid input syntax for type integer")),
        ("bigint", "9007199254740993n", "9007199254740993"),
        ("numeric", '"1.10"', "1.10"),
        ("numeric", "NaN", "NaN"),
        ("float8", "-0", "-0"),
        ("float8", "-Infinity", "-Infinity"),
        ("boolean", "true", "true"),
        ("text", "null", None),
        ("text", "12n", "12"),
        ("text", "true", "true"),
        ("text", '"a\\u0000b"', Refused("invalid byte sequence")),
        ("text", '"\\ud800"', Refused("unpaired surrogate")),
        ("text", 'new URL("https://a.example/b")', "https://a.example/b"),
        ("text", "{ a: 1 }", '{"a":1}'),
        ("text", "new Date(NaN)", Refused("is an invalid Date")),
        ("text", "() => 1", Refused("is a function")),
        ("text", 'Symbol("a")', Refused("is a symbol")),
        ("text", "Promise.resolve(1)", Refused("a Promise is not JSON: await it")),
        ("text", "/a/", NO_JSON),
        ("jsonb", "5", "5"),
        ("jsonb", "true", "true"),
        ("jsonb", "{ a: [new Date(0), new Set([1])] }", '{"a": ["1970-01-01T00:00:00.000Z", [1]]}'),
        ("jsonb", '[1, "a", [null]]', '[1, "a", [null]]', JSON_TYPE),
        ("jsonb", "new Map([[1, 2]])", '{"1": 2}'),
        ("jsonb", '\'{"b": 1}\'', '{"b": 1}'),
        ("jsonb", '"hello"', JSON_TYPE),
        ("jsonb", "{ a: NaN }", Refused("NaN is not a JSON number")),
        ("jsonb", "{ a: new Uint8Array(1) }", BYTES),
        ("jsonb", "{ a: 12n }", Refused("a BigInt is not JSON")),
        ("json", "{ b: 1 }", '{"b":1}'),
        ("bytea", 'Buffer.from("hi")', "\\x6869"),
        ("bytea", "new Uint8Array([1, 2, 3]).subarray(1)", "\\x0203"),
        ("bytea", "new Uint8Array([1, 2]).buffer", "\\x0102"),
        ("bytea", "new Uint16Array([1])", "\\x0100"),
        ("bytea", "new DataView(new ArrayBuffer(2))", "\\x0000"),
        ("bytea", "new SharedArrayBuffer(2)", "\\x0000"),
        ("bytea", 'new Blob(["hi"])', "\\x6869"),
        ("bytea", 'new File(["hi"], "a.txt")', "\\x6869"),
        ("integer[]", "[[1, 2], [3, null]]", "{{1,2},{3,NULL}}"),
        ("integer[]", "[]", "{}"),
        ("integer[]", "new Set([1])", "{1}"),
        ("integer[]", "[undefined]", Refused("is undefined")),
        ("text[]", '["a,\\"b\\"\\\\", "null", null, ""]', '{"a,\\"b\\"\\\\","null",NULL,""}'),
        ("bytea[]", "[Buffer.from([1])]", '{"\\\\x01"}'),
        ("jsonb[]", "[{ a: [1] }, 5, [2], null]", '{"{\\"a\\": [1]}",5,[2],NULL}', Refused("malformed array literal")),
        ("timestamptz[]", "[new Date(0)]", '{"1970-01-01 00:00:00+00"}'),
        ("timestamptz", "new Date(0)", "1970-01-01 00:00:00+00"),
        ("timestamptz", "new Date(Date.UTC(12024, 0, 1))", "12024-01-01 00:00:00+00"),
        ("timestamptz", 'new Date("-000043-03-15")', "0044-03-15 00:00:00+00 BC"),
        ("timestamptz", '"infinity"', "infinity"),
        ("timestamp", "new Date(0)", "1970-01-01 00:00:00"),
        ("date", '"2024-02-29"', "2024-02-29"),
        ("date", '"2024-02-30"', Refused("date/time field value out of range")),
        ("interval", '"P1M2D"', "1 mon 2 days"),
        ("int4range", '"[1,5)"', "[1,5)"),
        ("int4multirange", '"{[1,3),[5,7)}"', "{[1,3),[5,7)}"),
        ("uuid", '"00000000-0000-0000-0000-000000000005"', "00000000-0000-0000-0000-000000000005"),
        ("inet", '"10.0.0.1/8"', "10.0.0.1/8"),
        ("bit(3)", '"101"', "101"),
        ("mood", '"happy"', "happy"),
        ("mood", '"angry"', Refused("invalid input value for enum")),
        ("mood[]", '["happy", "sad"]', "{happy,sad}"),
        ("place", '"(a,1)"', "(a,1)"),
        ("positive", "5", "5"),
        ("positive", "-5", Refused("violates check constraint")),
        ("point", '"(1,2)"', "(1,2)"),
        ("tsvector", '"a b"', "'a' 'b'"),
    ]),
    "python": _stored([
        ("integer", "5", "5"),
        ("integer", "2.0", "2", "2"),
        ("integer", "2.5", Refused("invalid input syntax for type integer"), "2"),
        ("integer", "float('nan')", Refused("invalid input syntax for type integer"), Refused("out of range")),
        ("bigint", "2**53 + 1", "9007199254740993"),
        ("bigint", "2**64", Refused("out of range")),
        ("numeric", "Decimal('1.10')", "1.10"),
        ("numeric", "float('nan')", "NaN"),
        ("float8", "-0.0", "-0"),
        ("float8", "1e300", "1e+300"),
        ("float8", "float('-inf')", "-Infinity"),
        ("boolean", "True", "true"),
        ("text", "None", None),
        ("text", "12", "12"),
        ("text", "True", "true"),
        ("text", "'a\\0b'", Refused("NUL")),
        ("text", "'\\ud800'", Refused("surrogates not allowed")),
        ("text", "{'a': 1}", '{"a":1}', '{"a": 1}'),
        ("text", "object()", Refused("cannot adapt type 'object'")),
        ("text", "lambda: 1", Refused("cannot adapt type 'function'")),
        ("jsonb", "5", "5", Refused("cannot cast type smallint to jsonb")),
        ("jsonb", "True", "true", Refused("cannot cast type boolean to jsonb")),
        ("jsonb", "2.5", "2.5", Refused("cannot cast type double precision to jsonb")),
        ("jsonb", "Decimal('1.10')", "1.10", Refused("cannot cast type numeric to jsonb")),
        ("jsonb", "{'a': [date(2024, 1, 1), Decimal('1.0'), UUID(int=5), {5}]}",
         '{"a": ["2024-01-01", "1.0", "00000000-0000-0000-0000-000000000005", [5]]}'),
        ("jsonb", "[date(2024, 1, 1), {'b': {5}}]", '["2024-01-01", {"b": [5]}]', Refused("")),
        ("jsonb", "(1, 'a')", '[1, "a"]', JSON_TYPE),
        ("jsonb", "{5}", "[5]", JSON_TYPE),
        ("jsonb", "make_dataclass('Point', ['x'])(1)", '{"x": 1}', Refused("cannot adapt")),
        ("jsonb", "'{\"b\": 1}'", '{"b": 1}'),
        ("jsonb", "'hello'", JSON_TYPE),
        ("jsonb", "{'a': float('nan')}", Refused("NaN and Infinity are not JSON numbers")),
        ("jsonb", "{'a': b'x'}", BYTES),
        ("json", "{'b': 1}", '{"b":1}', '{"b": 1}'),
        ("bytea", "b'hi'", "\\x6869"),
        ("bytea", "bytearray(b'hi')", "\\x6869"),
        ("bytea", "memoryview(b'hi')", "\\x6869"),
        ("integer[]", "[[1, 2], [3, None]]", "{{1,2},{3,NULL}}"),
        ("integer[]", "[]", "{}"),
        ("integer[]", "(1, 2)", "{1,2}", Refused("malformed array literal")),
        ("integer[]", "[(1, 2), (3, 4)]", "{{1,2},{3,4}}", Refused("invalid input syntax for type integer")),
        ("integer[]", "{5}", "{5}"),
        ("numeric[]", "[1, 2.5, Decimal('1.10')]", "{1,2.5,1.10}", Refused("cannot dump lists of mixed types")),
        ("text[]", "['a,\"b\"\\\\', 'null', None, '']", '{"a,\\"b\\"\\\\","null",NULL,""}'),
        ("bytea[]", "[b'\\x01']", '{"\\\\x01"}'),
        ("jsonb[]", "[{'a': [1]}, 5, [2], None]", '{"{\\"a\\": [1]}",5,[2],NULL}', Refused("")),
        ("date[]", "[date(2024, 2, 29)]", "{2024-02-29}"),
        ("place[]", "[('a', 1)]", '{"(a,1)"}'),
        ("timestamptz", "datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=2)))", "2024-02-28 22:00:00+00"),
        ("timestamptz", "'infinity'", "infinity"),
        ("timestamp", "datetime(2024, 2, 29, 1, 2, 3, 4)", "2024-02-29 01:02:03.000004"),
        ("date", "date(2024, 2, 29)", "2024-02-29"),
        ("time", "time(1, 2)", "01:02:00"),
        ("interval", "timedelta(days=1, hours=-2)", "22:00:00"),
        ("int4range", "Range(1, 5)", "[1,5)"),
        ("tstzrange", "Range(None, datetime(2024, 1, 1, tzinfo=timezone.utc))", '(,"2024-01-01 00:00:00+00")'),
        ("int4multirange", "Multirange([Range(1, 3), Range(5, 7)])", "{[1,3),[5,7)}"),
        ("uuid", "UUID(int=5)", "00000000-0000-0000-0000-000000000005"),
        ("inet", "ipaddress.ip_interface('10.0.0.1/8')", "10.0.0.1/8"),
        ("cidr", "ipaddress.ip_network('10.0.0.0/8')", "10.0.0.0/8"),
        ("bit(3)", "'101'", "101"),
        ("mood", "'happy'", "happy"),
        ("mood", "'angry'", Refused("invalid input value for enum")),
        ("mood[]", "['happy', 'sad']", "{happy,sad}"),
        ("place", "'(a,1)'", "(a,1)"),
        ("positive", "5", "5"),
        ("positive", "-5", Refused("violates check constraint")),
        ("point", "'(1,2)'", "(1,2)"),
        ("tsvector", "'a b'", "'a' 'b'"),
    ]),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Read:
    """A value of the database: the type and the JSON form that it has in each language."""

    sql: str
    javascript: tuple[str, Outcome]
    python: tuple[str, Outcome]


def _both(sql: str, javascript: str, python: str, result: Outcome) -> Read:
    return Read(sql, (javascript, result), (python, result))


def _text(sql: str, result: str) -> Read:
    return _both(sql, "String", "str", result)


UUID_5 = "00000000-0000-0000-0000-000000000005"
READ = [
    _both("null::text", "null", "NoneType", None),
    _both("true", "Boolean", "bool", True),
    _both("5::smallint", "Number", "int", 5),
    _both("9007199254740991", "Number", "int", 9007199254740991),
    Read("9007199254740993", ("String", "9007199254740993"), ("int", 9007199254740993)),
    Read("array[1, 9007199254740993]", ("Array", [1, "9007199254740993"]), ("list", [1, 9007199254740993])),
    Read("1.10::numeric", ("String", "1.10"), ("Decimal", "1.10")),
    Read("'NaN'::numeric", ("String", "NaN"), ("Decimal", "NaN")),
    _both("array[1.10]::numeric[]", "Array", "list", ["1.10"]),
    _both("0.1::float8", "Number", "float", 0.1),
    Read("'infinity'::float8", ("Number", Refused("Infinity is not a JSON")), ("float", Refused("NaN and Infinity"))),
    _both("5::oid", "Number", "int", 5),
    _text("'1 2'::int2vector", "1 2"),
    _text("'1 2'::oidvector", "1 2"),
    _text("'1.50'::money", "$1.50"),
    _text("'ä'::text", "ä"),
    _text("'a'::char(3)", "a  "),
    _text("'a'::name", "a"),
    _both("array['a', null]::name[]", "Array", "list", ["a", None]),
    Read("'\\x6869'::bytea", ("Buffer", BYTES), ("bytes", BYTES)),
    Read("'{\"a\": [1, null]}'::jsonb", ("Object", {"a": [1, None]}), ("dict", {"a": [1, None]})),
    _both("'null'::jsonb", "null", "NoneType", None),
    Read("'9007199254740993'::jsonb", ("Number", 9007199254740992), ("int", 9007199254740993)),
    Read("array['{}']::jsonb[]", ("Array", [{}]), ("list", [{}])),
    _both("array[[1, 2], [3, null]]", "Array", "list", [[1, 2], [3, None]]),
    _both("array[]::int[]", "Array", "list", []),
    _both("'[2:3]={1,2}'::int[]", "Array", "list", [1, 2]),
    Read("'2024-02-29'::date", ("String", "2024-02-29"), ("date", "2024-02-29")),
    _text("'infinity'::date", "infinity"),
    _text("'0044-03-15 BC'::date", "0044-03-15 BC"),
    _text("'12024-01-01'::date", "12024-01-01"),
    Read("'2024-02-29 12:30'::timestamp", ("Date", "2024-02-29T12:30:00.000Z"), ("datetime", "2024-02-29T12:30:00")),
    Read(
        "'2024-02-29 12:30:00.123456Z'::timestamptz",
        ("Date", "2024-02-29T12:30:00.123Z"),
        ("datetime", "2024-02-29T12:30:00.123456+00:00"),
    ),
    _text("'infinity'::timestamptz", "infinity"),
    _text("'-infinity'::timestamp", "-infinity"),
    Read("'0044-03-15 BC'::timestamp", ("Date", "-000043-03-15T00:00:00.000Z"), ("str", "0044-03-15 00:00:00 BC")),
    Read(
        "'12024-01-01 00:00Z'::timestamptz",
        ("Date", "+012024-01-01T00:00:00.000Z"),
        ("str", "12024-01-01 00:00:00+00"),
    ),
    _text("'294276-01-01'::timestamp", "294276-01-01 00:00:00"),
    _both("array['infinity', null]::timestamptz[]", "Array", "list", ["infinity", None]),
    Read("'12:30'::time", ("String", "12:30:00"), ("time", "12:30:00")),
    _text("'24:00'::time", "24:00:00"),
    Read("'12:30+02'::timetz", ("String", "12:30:00+02"), ("time", "12:30:00+02:00")),
    Read("'1 day 06:00'::interval", ("PostgresInterval", "P1DT6H"), ("timedelta", "P1DT21600S")),
    Read("'00:00'::interval", ("PostgresInterval", "PT0S"), ("timedelta", "P0DT0S")),
    Read("'1 mon 2 days'::interval", ("PostgresInterval", "P1M2D"), ("str", "1 mon 2 days")),
    Read("'1 year'::interval", ("PostgresInterval", "P1Y"), ("str", "1 year")),
    Read(f"'{UUID_5}'::uuid", ("String", UUID_5), ("UUID", UUID_5)),
    Read("'10.0.0.1'::inet", ("String", "10.0.0.1"), ("IPv4Address", "10.0.0.1")),
    Read("'10.0.0.0/8'::cidr", ("String", "10.0.0.0/8"), ("IPv4Network", "10.0.0.0/8")),
    _text("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
    _text("B'101'", "101"),
    _both("array[B'101']", "Array", "list", ["101"]),
    Read("'[1,5)'::int4range", ("String", "[1,5)"), ("Range", "[1,5)")),
    Read("'empty'::int4range", ("String", "empty"), ("Range", "empty")),
    Read("'[2024-01-01,infinity)'::daterange", ("String", "[2024-01-01,infinity)"), ("Range", "[2024-01-01,infinity)")),
    Read("'{[1,3),[5,)}'::int4multirange", ("String", "{[1,3),[5,)}"), ("Multirange", "{[1,3),[5,)}")),
    _both("array['[1,5)']::int4range[]", "Array", "list", ["[1,5)"]),
    _text("'happy'::mood", "happy"),
    _text("array['happy', 'sad']::mood[]", "{happy,sad}"),
    _text("row('a', 1)::place", "(a,1)"),
    _both("5::positive", "Number", "int", 5),
    Read("'(1,2.5)'::point", ("Object", {"x": 1, "y": 2.5}), ("str", "(1,2.5)")),
    Read("'<(1,2),3>'::circle", ("Object", {"x": 1, "y": 2, "radius": 3}), ("str", "<(1,2),3>")),
    _text("'((0,0),(1,1))'::polygon", "((0,0),(1,1))"),
    _text("'a b'::tsvector", "'a' 'b'"),
    _text("'0/16B3748'::pg_lsn", "0/16B3748"),
]


def page() -> str:
    """The tables of docs/reference/values.md."""
    titles = {"javascript": "JavaScript", "python": "Python"}
    parts = ["## What a function returns"]
    for language, returned in RETURNED.items():
        parts += [f"### Returned by {titles[language]}", _table(["returned", "the result is"], [
            [_code(value), _shown(outcome)] for value, outcome in returned
        ])]  # fmt: skip
    parts.append("## What is stored")
    for language, stored in STORED.items():
        parts += [f"### Stored by {titles[language]}", _table(
            ["column", "value", "`insert`, `update`", "`query`, with a cast"],
            [[_code(one.type), _code(one.value), _shown(one.text, as_text=True),
              "the same" if one.query is ... else _shown(one.query, as_text=True)] for one in stored],
        )]  # fmt: skip
    parts += ["## What is read", _table(
        ["SQL", "JavaScript", "returned, it is", "Python", "returned, it is"],
        [[_code(one.sql), *_typed(one.javascript), *_typed(one.python)] for one in READ],
    )]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _typed(read: tuple[str, Outcome]) -> list[str]:
    return [read[0], _shown(read[1])]


def _shown(outcome: Outcome, as_text: bool = False) -> str:
    if isinstance(outcome, Refused):
        return f"error: {outcome.words}" if outcome.words else "error"
    if as_text:
        return "null" if outcome is None else _code(outcome)
    return _code(json.dumps(outcome, ensure_ascii=False))


def _code(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`` {escaped} ``" if "`" in escaped else f"`{escaped}`"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
