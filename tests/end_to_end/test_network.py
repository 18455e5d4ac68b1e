"""Functions and projects without network: what is refused, and what goes on working."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import SERVICES, Parts, Platform

RULE = "network access is off for this function (network: none)"
WORKS = {
    "python": """
import psycopg

def handler(payload, zmesh):
    with zmesh.db.transaction() as tx:
        tx.query("create temporary table t (n int)")
        tx.insert("t", {"n": 1})
        called = [zmesh.invoke("double", n) for n in (1, 2)]
    zmesh.db.query("set application_name to 'unlike another'")
    try:
        zmesh.db.query("select pg_terminate_backend(pg_backend_pid())")
    except psycopg.Error as error:
        lost = str(error)
    again = zmesh.db.query_one("select current_setting('application_name') as name")["name"]
    try:
        psycopg.connect(zmesh.db.url)
    except psycopg.Error as error:
        own = type(error).__name__
    yield json.dumps([called, "terminat" in lost, again, own == "OperationalError"]) + "\\n"
    yield json.dumps([zmesh.db.query_one("select 1 as one"), bool(zmesh.enqueue("double", 1))])
""".replace("import psycopg\n\n", "import json\nimport psycopg\n\n", 1),
    "javascript": """
const { Client } = require("pg");

exports.handler = async function* (payload, zmesh) {
  const called = await zmesh.db.transaction(async (tx) => {
    await tx.query("create temporary table t (n int)");
    await tx.insert("t", { n: 1 });
    return Promise.all([1, 2].map((n) => zmesh.invoke("double", n)));
  });
  await zmesh.db.query("set application_name to 'unlike another'");
  const ended = zmesh.db.query("select pg_terminate_backend(pg_backend_pid())");
  const lost = await ended.then(() => "", (error) => error.message);
  const again = (await zmesh.db.queryOne("select current_setting('application_name') as name")).name;
  const own = await new Client(zmesh.db.url).connect().then(() => "", (error) => error.message);
  yield JSON.stringify([called, lost.includes("terminat"), again, own.includes("network access is off")]) + "\\n";
  yield JSON.stringify([await zmesh.db.queryOne("select 1 as one"), Boolean(await zmesh.enqueue("double", 1))]);
};
""",
}
FIRST_ASKED_LATE = {
    "python": "def handler(payload, zmesh):\n"
    "    yield 'a'\n    yield str(zmesh.db.query_one('select 1 as one')['one'])\n",
    "javascript": "exports.handler = async function* (payload, zmesh) {\n"
    "  yield 'a';\n  yield String((await zmesh.db.queryOne('select 1 as one')).one);\n};\n",
}
CONNECTS = """
import socket

def handler(payload, zmesh):
    socket.create_connection(("127.0.0.1", payload), 5).close()
"""
languages = pytest.mark.parametrize("language", ["python", "javascript"])


@pytest.fixture(scope="module")
def platform(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All parts, for the tests of this module together."""
    with (
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database,
        Parts(database, tmp_path_factory.mktemp("network"), forks=SERVICES) as parts,
    ):
        parts.start_listener()
        parts.platform.deploy("double", "def handler(payload, zmesh):\n    return 2 * payload\n")
        parts.platform.deploy("connects", CONNECTS)
        yield parts.platform


def port_of(platform: Platform) -> int:
    return int(platform.url.rsplit(":", 1)[1])


def refused(answer: Any) -> bool:
    """Whether a call of `connects` was refused by the rule, or went through."""
    if answer.status_code == 200:
        return False
    assert RULE in answer.json()["error"]["message"], answer.text
    return True


@languages
def test_the_database_and_other_functions_are_reached_without_network(platform: Platform, language: str) -> None:
    platform.deploy(f"works-{language}", WORKS[language], language, network="none")
    lines = [json.loads(line) for line in platform.invoke(f"works-{language}").text.splitlines()]
    assert lines == [[[2, 4], True, f"zmesh works-{language}", True], [{"one": 1}, True]]


@languages
def test_a_stream_may_first_ask_the_database_after_its_first_piece(platform: Platform, language: str) -> None:
    platform.deploy(f"late-{language}", FIRST_ASKED_LATE[language], language, network="none")
    assert platform.invoke(f"late-{language}").text == "a1"


def test_the_setting_of_a_function_is_no_part_of_its_code(platform: Platform) -> None:
    before = platform.request("GET", "/functions/connects").json()
    assert before["network"] == "open"
    assert not refused(platform.invoke("connects", port_of(platform)))

    shown = platform.zmesh("functions", "update", "connects", "--network", "none", "--output", "table")
    assert "network: open → none" in shown
    after = platform.request("GET", "/functions/connects").json()
    assert (after["network"], after["version"]) == ("none", before["version"])
    assert after["revision"] == before["revision"] + 1
    assert refused(platform.invoke("connects", port_of(platform)))

    wrong = platform.request("PATCH", "/functions/connects", json={"network": "some"})
    assert (wrong.status_code, "network" in wrong.text) == (422, True)
    platform.request("PATCH", "/functions/connects", json={"network": "open"})
    assert not refused(platform.invoke("connects", port_of(platform)))


def test_a_project_without_network_has_none_for_all_its_functions(platform: Platform) -> None:
    function = platform.request("PATCH", "/functions/connects", json={"network": "open"}).json()
    [project] = json.loads(platform.zmesh("projects", "list"))
    changed = json.loads(platform.zmesh("projects", "network", project["slug"], "none"))
    assert (changed["network"], changed["name"]) == ("none", project["name"])
    assert refused(platform.invoke("connects", port_of(platform)))
    by_sql = platform.ended(platform.enqueue("connects", port_of(platform), max_attempts=1))
    assert RULE in by_sql["error"]["message"]
    # Nor does the platform send for its functions what they may not send.
    with pytest.raises(psycopg.Error, match=r"cannot ask for callbacks \(network: none\)"):
        platform.enqueue("connects", callback_url="https://example.org/")

    opened = platform.request("PATCH", f"/projects/{project['id']}", json={"network": "open"}).json()
    assert opened["network"] == "open"
    assert platform.request("GET", "/functions/connects").json() == function
    assert not refused(platform.invoke("connects", port_of(platform)))
    platform.enqueue("connects", callback_url="https://example.org/")
