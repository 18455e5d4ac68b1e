"""Every invocation option has the same spelling in HTTP, OpenAPI, the command line, SQL, both SDKs and the docs."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from typing import Any, get_args

import pytest

from api.management.models.functions import InvocationOption as Permission
from cli.invocations.invoking import invoke
from sql.invocations import Options
from support.invocation_options import IDEMPOTENCY_KEY, OPTIONS, javascript_name
from tests.api.client import Api
from tests.platform import REPOSITORY

DOCS, SDK = REPOSITORY / "docs", REPOSITORY / "sdk"
PARAMETERS = {name for option in OPTIONS for name in option.parameters}
IN_JAVASCRIPT = {javascript_name(name) for name in PARAMETERS}
HEADERS = {option.header for option in OPTIONS}
COLUMNS = {column for option in OPTIONS for column in option.columns}


def section(document: str, heading: str) -> str:
    """The first table after a heading or a line."""
    text = (DOCS / document).read_text()
    return re.search(r"^\|.*?\n\n", text[text.rindex(heading) :], re.M | re.S)[0]  # type: ignore[index]


def first_cells(table: str, column: int = 1) -> set[str]:
    return {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[column])}


def test_openapi_describes_each_header_on_both_routes(api: Api) -> None:
    paths = api.call("GET", "/schema/openapi.json").json()["paths"]
    for path in ("/functions/{id}/invoke", "/api/functions/{slug}"):
        headers = {one["name"] for one in paths[path]["post"]["parameters"] if one["in"] == "header"}
        assert headers == HEADERS | {"Prefer"}


def test_the_command_line_has_a_flag_for_each() -> None:
    flags = {flag for parameter in invoke.params for flag in parameter.opts}
    assert {option.flag for option in OPTIONS} <= flags


def test_each_is_a_column_of_an_invocation(api: Api) -> None:
    assert COLUMNS - set(IDEMPOTENCY_KEY.columns) == {field.name for field in fields(Options)}
    query = "select column_name from information_schema.columns where table_schema = 'zmesh' and table_name = %s"
    assert {row["column_name"] for row in api.database.rows(query, "invocations")} >= COLUMNS


def test_functions_name_the_same_options_that_their_callers_may_set() -> None:
    assert {option.permission for option in OPTIONS} == set(get_args(Permission))


def test_python_functions_pass_each_to_enqueue() -> None:
    module = ast.parse((SDK / "python" / "zmesh_runtime" / "zmesh.py").read_text())
    [enqueue] = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name == "enqueue"]
    assert {argument.arg for argument in enqueue.args.kwonlyargs} == PARAMETERS


def test_javascript_functions_pass_each_to_enqueue() -> None:
    source = (SDK / "javascript" / "lib" / "invocations.js").read_text()
    table = source[source.index("ENQUEUE_OPTIONS = {") :].partition("}")[0]
    assert dict(re.findall(r"(\w+): '(\w+)'", table)) == {javascript_name(name): name for name in PARAMETERS}


def test_the_type_declarations_have_each() -> None:
    source = (SDK / "javascript" / "zmesh.d.ts").read_text()
    declared = source[source.index("interface EnqueueOptions") :].partition("\n}")[0]
    assert set(re.findall(r"^  (\w+)\?:", declared, re.M)) == IN_JAVASCRIPT


@pytest.mark.parametrize(
    ("document", "heading", "column", "expected"),
    [
        (
            "reference/http-api.md",
            "| request header | effect |",
            1,
            HEADERS - {"Idempotency-Key"},
        ),
        ("reference/cli.md", "**invoke.**", 1, {option.flag for option in OPTIONS}),
        ("triggers/functions.md", "`zmesh.enqueue` takes these options", 1, PARAMETERS),
        ("triggers/functions.md", "`zmesh.enqueue` takes these options", 2, IN_JAVASCRIPT),
    ],
)
def test_the_documentation_lists_each(document: str, heading: str, column: int, expected: set[str]) -> None:
    assert first_cells(section(document, heading), column) == expected


def test_the_documentation_of_sql_lists_each_column() -> None:
    assert first_cells(section("triggers/sql.md", "## Columns you may set")) >= COLUMNS


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"X-Zmesh-Priority": "urgent"}, "X-Zmesh-Priority must be a whole number from -100 to 100."),
    ({"X-Zmesh-Max-Attempts": "0"}, "X-Zmesh-Max-Attempts must be a whole number from 1 to 100."),
    ({"X-Zmesh-Version": "-1"}, "X-Zmesh-Version must be the number of a version or the name of an alias."),
    ({"X-Zmesh-Run-At": "soon"}, "X-Zmesh-Run-At must be a time such as 2026-05-01T09:30:00Z."),
    ({"X-Zmesh-Run-At": "2026-05-01T09:30"}, "X-Zmesh-Run-At must include a time zone, as in 2026-05-01T09:30:00Z."),
    ({"X-Zmesh-Delay": "-1"}, "X-Zmesh-Delay must be from 0 to 3650 days, in seconds."),
    ({"X-Zmesh-Delay": "1e999"}, "X-Zmesh-Delay must be from 0 to 3650 days, in seconds."),
    *(({"X-Zmesh-Delay": text}, "X-Zmesh-Delay must be a number of seconds.") for text in ("1_0", "nan", "inf", "")),
    (
        {"X-Zmesh-Delay": "1", "X-Zmesh-Run-At": "2126-05-01T09:30:00Z"},
        "X-Zmesh-Delay cannot be combined with X-Zmesh-Run-At.",
    ),
    (
        {"X-Zmesh-Expires-At": "2026-05-01T09:30:00Z"},
        "X-Zmesh-Expires-At must be later than the start of the invocation.",
    ),
    (
        {"X-Zmesh-Callback-Url": "ftp://example.org/"},
        "X-Zmesh-Callback-Url must be an http:// or https:// URL without credentials, of at most 2000 characters.",
    ),
    ({"Idempotency-Key": "x" * 256}, "Idempotency-Key must be 1 to 255 printable ASCII characters, such as a UUID."),
]


@pytest.mark.parametrize("header", ["X-Zmesh-Priority", "Idempotency-Key"])
def test_an_option_that_is_sent_twice_must_be_the_same(api: Api, header: str) -> None:
    api.deploy()
    for values, status in ((["1", "1"], 202), (["1", "2"], 400)):
        headers = [("authorization", f"Bearer {api.token}"), ("prefer", "respond-async")]
        headers += [(header, value) for value in values]
        response = api.client.post(f"{api.url}/functions/greet/invoke", headers=headers, json={"payload": {}})
        assert response.status_code == status, response.text
    assert response.json()["detail"] == f"{header} was sent more than once, with different values."


@pytest.mark.parametrize(("headers", "detail"), REFUSED)
def test_an_invalid_option_is_refused_by_the_name_of_its_header(api: Api, headers: dict[str, str], detail: str) -> None:
    api.deploy()
    response = api.call("POST", "/functions/greet/invoke", headers=headers, json={"payload": {}})
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"], problem["detail"]) == (400, "invalid_header", detail)
