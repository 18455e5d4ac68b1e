"""`zmesh run`: code in the sandbox of a running platform, without deploying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rich_click as click

from cli.invocations.running import run
from tests.platform import Platform

CONNECTION = ("url", "token", "api-key", "profile", "project")


@pytest.fixture
def folder(running_platform: Platform, tmp_path: Path) -> Path:
    """A function of two files in TypeScript that is not deployed."""
    source = tmp_path / "greet-in-ts"
    (source / "lib").mkdir(parents=True)
    (source / "index.ts").write_text(
        'import { shout } from "./lib/shout.ts";\n'
        "export const handler = async (payload: { name?: string }) => {\n"
        '  console.log("greeting", zmesh.env.GREETING);\n'
        "  return { text: `${zmesh.env.GREETING} ${shout(payload.name!)}` };\n"
        "};\n"
    )
    (source / "lib" / "shout.ts").write_text("export const shout = (text: string) => text.toUpperCase();\n")
    return source


def test_a_folder_runs_as_it_is_and_leaves_no_function(running_platform: Platform, folder: Path) -> None:
    arguments = ("run", str(folder), "--data", '{"name": "ada"}', "--env", "GREETING=hi")
    answer = json.loads(running_platform.zmesh(*arguments))
    assert (answer["status"], answer["result"]) == ("success", {"text": "hi ADA"})
    assert running_platform.ended(answer["invocation_id"])["logs"][0]["message"] == "greeting hi"
    assert "greet-in-ts" not in running_platform.zmesh("functions", "list")


def test_an_error_is_shown_with_the_line_of_the_file_at_hand(running_platform: Platform, folder: Path) -> None:
    said = running_platform.zmesh("run", str(folder), "--output", "table", status=1)
    assert "info    greeting undefined" in said
    assert "TypeError: Cannot read properties of undefined" in said
    assert f"{folder}/lib/shout.ts:1:45\n  › 1 │ export const shout" in said
    assert f"called from {folder}/index.ts:4 in" in said


def test_a_deployed_function_lends_its_settings_and_keeps_its_code(running_platform: Platform, tmp_path: Path) -> None:
    running_platform.deploy("lender", "def handler(p, z):\n    return 'deployed'\n", env_vars={"A": "1", "B": "2"})
    path = tmp_path / "lender.py"
    path.write_text("def handler(p, z):\n    return [p, dict(z.env)]\n")
    shown = running_platform.zmesh("run", str(path), "--unset", "A", "--env", "C=3", "--data", "7", "--output", "table")
    assert json.loads(shown) == [7, {"B": "2", "C": "3"}]
    assert running_platform.result("lender") == "deployed"
    assert running_platform.request("GET", "/functions/lender").json()["env_vars"] == {"A": "1", "B": "2"}


def test_a_function_of_a_project_runs_as_its_folder_declares(running_platform: Platform, tmp_path: Path) -> None:
    running_platform.deploy("declared", "def handler(p, z): ...\n", env_vars={"OLD": "1"}, timeout_ms=900)
    (tmp_path / "functions").mkdir()
    (tmp_path / "zmesh.toml").write_text(
        '[functions.declared]\nentry_point = "main"\nmemory_mb = 300\nnetwork = "none"\nenv = { A = "1", B = "2" }\n'
    )
    path = tmp_path / "functions" / "declared.py"
    path.write_text(
        "import resource, urllib.request\n"
        "def main(payload, zmesh):\n"
        "    try:\n"
        "        urllib.request.urlopen('http://127.0.0.1:9')\n"
        "    except OSError as error:\n"
        "        return [dict(zmesh.env), str(error)]\n"
    )
    answer = json.loads(running_platform.zmesh("run", str(path), "--env", "B=3"))
    variables, refused = answer["result"]
    assert variables == {"A": "1", "B": "3"}
    assert "network" in refused


def test_every_setting_that_a_run_takes_works(running_platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "takes-all.py"
    path.write_text("def main(event, context):\n    return event\n")
    given = {"--entry-point": "main", "--style": "lambda", "--timeout-ms": "5000", "--memory-mb": "128"}
    given |= {"--env": "A=1", "--unset": "B", "--network": "none"}
    options = {name for option in run.params if isinstance(option, click.Option) for name in option.opts}
    of_the_run = {"--data", "--name", "--dry-run", "--output", "--inspect", "--inspect-port"}
    not_settings = of_the_run | {f"--{name}" for name in CONNECTION}
    assert options - not_settings == given.keys()
    arguments = [word for option in given.items() for word in option]
    assert json.loads(running_platform.zmesh("run", str(path), *arguments))["status"] == "success"


PYTHON = """
def handler(payload, zmesh):
    zmesh.db.insert("stock", {"id": 2, "item": "tea"})
    try:
        zmesh.db.insert("stock", {"id": 1})
    except Exception as error:
        print(type(error).__name__)
    with zmesh.db.transaction() as tx:
        tx.update("stock", {"item": "milk"}, {"id": 1})
    for attempt in (lambda: zmesh.db.query("commit"), lambda: zmesh.invoke("stock-of-python")):
        try:
            attempt()
        except Exception as error:
            print(error)
    zmesh.enqueue("stock-of-python", {"again": True})
    return [row["item"] for row in zmesh.db.query("select item from stock order by id")] + [zmesh.db.url]
"""
JAVASCRIPT = """
exports.handler = async () => {
  await zmesh.db.insert('stock', { id: 2, item: 'tea' });
  await zmesh.db.insert('stock', { id: 1 }).catch((error) => console.log('UniqueViolation'));
  await zmesh.db.transaction((tx) => tx.update('stock', { item: 'milk' }, { id: 1 }));
  for (const attempt of [() => zmesh.db.query('commit'), () => zmesh.invoke('stock-of-python')]) {
    await attempt().catch((error) => console.log(error.message));
  }
  await zmesh.enqueue('stock-of-python', { again: true });
  await fetch('http://127.0.0.1:9').catch((error) => console.log('no network'));
  const rows = await zmesh.db.query('select item from stock order by id');
  return [...rows.map((row) => row.item), zmesh.db.url];
};
"""


@pytest.mark.parametrize(("name", "code"), [("stock-of-python.py", PYTHON), ("stock.js", JAVASCRIPT)])
def test_a_dry_run_shows_the_rows_and_changes_none(
    running_platform: Platform, tmp_path: Path, name: str, code: str
) -> None:
    running_platform.sql("drop table if exists stock")
    running_platform.sql("create table stock (id int primary key, item text)")
    running_platform.sql("insert into stock values (1, 'water')")
    if name.endswith(".py"):
        running_platform.deploy("stock-of-python", PYTHON, env_vars={})
        arguments = ["invoke", "stock-of-python", "--dry-run"]
    else:
        (tmp_path / name).write_text(code)
        arguments = ["run", str(tmp_path / name), "--dry-run"]
    answer = json.loads(running_platform.zmesh(*arguments))
    assert answer["result"] == ["milk", "tea", ""]
    said = [line["message"] for line in running_platform.ended(answer["invocation_id"])["logs"]]
    assert said[0] == "UniqueViolation"
    assert said[1].startswith("this run cannot end its transaction (Everything is rolled back at the end.")
    assert said[2].startswith("zmesh.invoke is not available in a dry run")
    rows = [(row["table"], row["operation"], row["old"], row["new"]) for row in answer["changes"]["rows"]]
    assert rows[:2] == [
        ("stock", "update", {"id": 1, "item": "water"}, {"id": 1, "item": "milk"}),
        ("stock", "insert", None, {"id": 2, "item": "tea"}),
    ]
    assert (rows[2][0], rows[2][3]["payload"], len(rows)) == ("zmesh.invocations", {"again": True}, 3)
    assert running_platform.sql("select * from stock") == [{"id": 1, "item": "water"}]
    assert len(running_platform.history("stock-of-python")) == 1
    running_platform.sql("drop table stock")


def test_a_dry_run_reads_as_a_list_of_changes(running_platform: Platform, tmp_path: Path) -> None:
    running_platform.sql("create table shelves (id int primary key, item text)")
    running_platform.sql("insert into shelves values (1, 'water'), (2, 'salt')")
    path = tmp_path / "shelves.py"
    path.write_text(
        "def handler(payload, zmesh):\n"
        "    zmesh.db.query(\"update shelves set item = 'milk' where id = 1; delete from shelves where id = 2;\"\n"
        "                   \" insert into shelves values (3, 'tea')\")\n"
        "    raise ValueError('after all')\n"
    )
    said = running_platform.zmesh("run", str(path), "--dry-run", "--output", "table", status=1)
    for line in ('~ shelves id=1  item: "water" → "milk"', '- shelves id=2  item="salt"', '+ shelves id=3  item="tea"'):
        assert f"  {line}\n" in said
    assert "ValueError: after all" in said


def test_a_response_is_printed_as_it_is(running_platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text("def handler(p, z):\n    return z.response('<p>', status=p['status'], headers={'x': 'y'})\n")
    arguments = ("run", str(path), "--output", "table", "--data")
    assert running_platform.zmesh(*arguments, '{"status": 200}') == "<p>"
    assert "HTTP status 404" in running_platform.zmesh(*arguments, '{"status": 404}', status=1)
