"""`zmesh test`: the tests of a project's functions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.testing.commands import _run, _runner, _tests_in
from cli.testing.limits import Limit
from cli.testing.throwaway import apply_sql_of
from tests.platform import COMMANDS, ZMESH, clean_environment, eventually

FUNCTION = """
def handler(payload, zmesh):
    zmesh.enqueue("send-receipt", payload)
    return zmesh.db.insert("orders", {"item": payload["item"]})
"""
TEST = """
import pytest
from place_order import handler
from zmesh.testing import Failure, InvocationError

def test_an_order_is_kept(zmesh):
    assert handler({"item": "tea"}, zmesh)["price"] == 3
    assert zmesh.enqueued[0].function == "send-receipt"

def test_in_the_sandbox_it_shares_the_transaction(zmesh, capsys):
    zmesh.db.insert("orders", {"item": "tea"})
    zmesh.answers["price"] = {"cents": 12}
    zmesh.env["GREETING"] = "hello"
    zmesh.set_request("POST", "/", body={"n": 1})
    for count in range(2, 9):  # so many that a driver prepares its statements
        assert zmesh.run("sandboxed.py", {"n": 1}) == ["hello", {"n": 1}, {"cents": 12}, count]
    assert zmesh.invoked[0].payload == {"n": 1}
    assert [one.function for one in zmesh.due] == ["send-receipt"] * 7
    assert "in the sandbox" in capsys.readouterr().out
    zmesh.answers["price"] = Failure("sold_out", "no tea left")
    with pytest.raises(InvocationError, match="no tea left"):
        zmesh.run("sandboxed.py", {"n": 1})

@pytest.mark.parametrize(("file", "limit"), [("slow.py", "timeout"), ("large.js", "memory_limit")])
def test_a_limit_leaves_what_was_committed(zmesh, file, limit):
    with pytest.raises(InvocationError) as raised:
        zmesh.run(file)
    assert raised.value.type == limit
    assert [row["item"] for row in zmesh.db.select("orders")] == ["kept"]

def test_what_cannot_run_is_told(zmesh):
    with pytest.raises(RuntimeError, match="does not exist"):
        zmesh.run("nothing.py")
    with pytest.raises(RuntimeError, match="File name too long"):
        zmesh.run("long" * 100 + ".py")

def test_of_tomorrow():
    pytest.skip("later")
"""
JAVASCRIPT_FUNCTION = """
import { TABLE } from './tables';
export const handler = async ({ item }: { item: string }, zmesh: any) => await zmesh.db.insert(TABLE, { item });
"""
JAVASCRIPT_TEST = """
import assert from 'node:assert';
import { test } from 'node:test';
import { Failure, withZmesh } from 'zmesh/testing';
import { handler } from './keep-order';

test('an order is kept', withZmesh(async (zmesh) => {
  assert.equal((await handler({ item: 'tea' }, zmesh)).price, 3);
}));
test('in the sandbox it shares the transaction', withZmesh(async (zmesh) => {
  zmesh.answers.price = { cents: 12 };
  zmesh.env.GREETING = 'hello';
  zmesh.setRequest('POST', '/', { body: { n: 1 } });
  for (const [file, count] of [['sandboxed.py', 1], ['sandboxed.ts', 2]]) {
    assert.deepEqual(await zmesh.run(file, { n: 1 }), ['hello', { n: 1 }, { cents: 12 }, count]);
  }
  assert.deepEqual(zmesh.invoked.map((one) => one.function), ['price', 'price']);
  assert.equal((await zmesh.due()).length, 2);
  zmesh.answers.price = new Failure('sold_out', 'no tea left');
  await assert.rejects(zmesh.run('sandboxed.ts', { n: 1 }), { status: 'error', message: 'no tea left' });
}));
test('a limit leaves what was committed', withZmesh(async (zmesh) => {
  await assert.rejects(zmesh.run('slow.py'), { type: 'timeout' });
  assert.deepEqual((await zmesh.db.select('orders')).map((row) => row.item), ['kept']);
}));
test('this one fails', withZmesh(async (zmesh) => {
  assert.equal((await handler({ item: 'tea' }, zmesh)).price, 4);
}));
"""
LIMITS = """
[functions.slow]
path = "slow.py"
timeout_ms = 500

[functions.large]
path = "large.js"
memory_mb = 64
network = "none"
"""
SLOW = """
def handler(payload, zmesh):
    zmesh.db.insert("orders", {"item": "kept"})
    with zmesh.db.transaction():
        zmesh.db.insert("orders", {"item": "lost"})
        while True:
            pass
"""
LARGE = """
exports.handler = async (payload, zmesh) => {
  await zmesh.db.insert('orders', { item: 'kept' });
  for (const all = []; ; ) all.push(new Array(1e5).fill(payload));
};
"""
SANDBOXED = """
def handler(payload, zmesh):
    print("in the sandbox")
    zmesh.db.insert("orders", {"item": "tea"})
    zmesh.enqueue("send-receipt", payload)
    price = zmesh.invoke("price", payload)
    return [zmesh.env["GREETING"], zmesh.request.json(), price, len(zmesh.db.select("orders"))]
"""
SANDBOXED_IN_TYPESCRIPT = """
export const handler = async (payload: { n: number }, zmesh: any) => {
  await zmesh.db.insert('orders', { item: 'tea' });
  await zmesh.enqueue('send-receipt', payload);
  const price = await zmesh.invoke('price', payload);
  return [zmesh.env.GREETING, zmesh.request.json(), price, (await zmesh.db.select('orders')).length];
};
"""
ENDLESS = """
import os, pathlib
def test_it_never_ends(zmesh):
    zmesh.db.query("select 1")
    pathlib.Path("new").write_text(str(os.getpid()))
    os.rename("new", "pid")
    while True: pass
"""
PACKED = {
    "packed/requirements.txt": "idna",  # the command's own environment has it
    "packed/main.py": "import idna\ndef handler(payload, zmesh): return idna.encode(payload).decode()\n",
    "functions/above/package.json": '{"dependencies": {"shout": "1"}}',
    "functions/above/index.js": "exports.handler = async (payload) => require('shout')(payload);",
    "node_modules/shout/package.json": '{"name": "shout", "version": "1.0.0"}',
    "node_modules/shout/index.js": "module.exports = (text) => text.toUpperCase();",
    "nearer/package.json": '{"dependencies": {"shout": "1"}}',
    "nearer/index.js": "exports.handler = async (payload) => require('shout')(payload);",
    "nearer/node_modules/shout/index.js": "module.exports = (text) => `${text}!`;",
    "missing/requirements.txt": "no-such-package",
    "missing/main.py": "def handler(payload, zmesh): ...",
    "test_packed.py": """
import pytest

@pytest.mark.parametrize(
    ("path", "result"),
    [("packed", "xn--tda"), ("functions/above", "\u00dc"), ("nearer", "\u00fc!"), ("packed", "xn--tda")],
)
def test_installed_packages_can_be_imported(zmesh, path, result):
    assert zmesh.run(path, "\u00fc") == result

def test_packages_that_are_not_installed_are_named(zmesh):
    with pytest.raises(RuntimeError, match="no-such-package, which the manifest needs, is not installed"):
        zmesh.run("missing")
""",
    "packed.test.js": """
const assert = require('node:assert');
const { test } = require('node:test');
const { withZmesh } = require('zmesh/testing');
test('installed packages can be imported', withZmesh(async (zmesh) => {
  assert.equal(await zmesh.run('packed', '\u00fc'), 'xn--tda');
  assert.equal(await zmesh.run('functions/above', '\u00fc'), '\u00dc');
}));
""",
}
Written = Callable[[dict[str, str]], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_the_tests_of_every_language_run_on_the_migrated_database(written: Written) -> None:
    folder = written(
        {
            "migrations/0001_orders.sql": "create table orders (item text not null)",
            "migrations/0002_price.sql": "alter table orders add price integer not null default 3",
            "place_order.py": FUNCTION,
            "tests/test_place_order.py": TEST,
            "keep-order.ts": JAVASCRIPT_FUNCTION,
            "tables.ts": "export const TABLE = 'orders';",
            "keep-order.test.ts": JAVASCRIPT_TEST,
            "zmesh.toml": LIMITS,
            "slow.py": SLOW,
            "large.js": LARGE,
            "sandboxed.py": SANDBOXED,
            "sandboxed.ts": SANDBOXED_IN_TYPESCRIPT,
            "node_modules/other/other.test.js": "throw new Error('not ours')",
        }
    )
    environment = {**clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = COMMANDS.run(["test", "--output", "json"], cwd=folder, env=environment)

    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert [summary[status] for status in ("passed", "failed", "skipped")] == [8, 1, 1]
    [failed] = [test for test in summary["tests"] if test["status"] == "failed"]
    assert (failed["name"], failed["file"]) == ("this one fails", "keep-order.test.ts")
    assert "3 == 4" in failed["message"]
    assert "this one fails" in done.stderr


def test_runs_in_the_sandbox_get_the_packages_that_are_installed(written: Written) -> None:
    done = COMMANDS.run(["test", "--output", "table"], cwd=written(PACKED), env=clean_environment())
    assert (done.returncode, done.stdout) == (0, "6 passed\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_tests_leave_nothing_behind(written: Written, number: signal.Signals) -> None:
    folder = written({"test_endless.py": ENDLESS})
    (temporary := folder / "temporary").mkdir()
    environment = {**clean_environment(), "TMPDIR": str(temporary)}
    log = folder / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [*ZMESH, "test"], cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    pid = eventually(lambda: (folder / "pid").exists() and int((folder / "pid").read_text()), "the test to run")
    assert list(temporary.iterdir())
    (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)  # Ctrl+C is for the whole group
    assert running.wait(60) == 128 + number
    assert not Path(f"/proc/{pid}").exists()
    assert list(temporary.iterdir()) == []
    assert ("test_endless.py:7: KeyboardInterrupt" in log.read_text()) is (number == signal.SIGINT)
    assert "sandbox.py" not in log.read_text()


HANGING = {
    "test_hangs.py": """
import pytest, time
def test_it_waits(zmesh):
    zmesh.db.query("select pg_sleep(600)")
def test_it_loops():
    while True: pass
@pytest.mark.timeout(0.5)
def test_it_has_a_limit_of_its_own():
    time.sleep(600)
@pytest.fixture
def slow():
    time.sleep(600)
def test_its_fixture_waits(slow): ...
def test_it_ends(zmesh): ...
""",
    "hangs.test.js": """
const { test } = require('node:test');
test('it ends', () => {});
test('it waits', () => new Promise((resolve) => setTimeout(resolve, 1000).ref()).then(() => new Promise(setInterval)));
test('it loops', () => { for (;;); });
""",
    "leaves.test.js": "require('node:test').test('it leaves a timer', () => { setInterval(() => {}, 1000); });",
    "loads.test.js": "for (;;);",
}


def test_tests_that_hang_are_ended_and_named(written: Written) -> None:
    environment = {**clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = ["test", "--timeout", "5", "--output", "json"]
    done = COMMANDS.run(command, cwd=written(HANGING), env=environment)
    assert done.returncode == 1
    tests = {test["name"]: test for test in json.loads(done.stdout)["tests"]}
    assert {name for name, one in tests.items() if one["status"] == "passed"} >= {"test_it_ends", "it leaves a timer"}
    hint = "raise the limit with zmesh test --timeout SECONDS"
    for name in ("test_it_waits", "test_it_loops", "test_its_fixture_waits", "it loops", "loads.test.js"):
        assert hint in tests[name]["message"], name
    own = tests["test_it_has_a_limit_of_its_own"]["message"]
    assert own.startswith("Failed: test_it_has_a_limit_of_its_own took longer than 0.5 s")
    assert "leaves.test.js: what its tests left running, such as a timer, did not end within 5 s" in done.stderr
    assert "hint: give each test more time: zmesh test --timeout SECONDS" in done.stderr


def test_a_file_whose_import_hangs_is_named(written: Written) -> None:
    folder = written({"test_import.py": "import time\ntime.sleep(600)\n"})
    done = COMMANDS.run(["test", "--timeout", "1", "--output", "json"], cwd=folder, env=clean_environment())
    assert done.returncode == 1
    assert "test_import.py took longer than 1 s: raise the limit with zmesh test --timeout SECONDS" in done.stderr


def test_the_folder_for_temporary_files_may_have_a_path_that_is_too_long_for_sockets(written: Written) -> None:
    test = "def test_it_runs(zmesh):\n    assert zmesh.run('one.py') == 1\n"
    folder = written({"one.py": "def handler(payload, zmesh): return 1\n", "test_one.py": test})
    (temporary := folder / ("long" * 30)).mkdir()
    done = COMMANDS.run(["test"], cwd=folder, env={**clean_environment(), "TMPDIR": str(temporary)})
    assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == []


def test_a_runner_that_is_killed_is_named(written: Written) -> None:
    dies = "import os\ndef test_it_dies():\n    os.kill(os.getpid(), 9)\n"
    done = COMMANDS.run(["test", "--output", "table"], cwd=written({"test_dies.py": dies}), env=clean_environment())
    assert (done.returncode, done.stdout) == (1, "no test ran\n")
    assert "pytest was ended by SIGKILL and reported no tests." in done.stderr


def test_pytest_finds_the_fixture_by_itself() -> None:
    assert "zmesh.testing.plugin" in {point.value for point in metadata.entry_points(group="pytest11")}


def test_tests_are_found_by_their_names(written: Written) -> None:
    tests = {"a/test_one.py", "one_test.py", "b.test.js", "b.test.mjs", "deep/er/b.test.ts"}
    others = {"one.py", "b.js", "contest.py", ".venv/test_one.py", "node_modules/b.test.js", "b.test.json"}
    folder = written(dict.fromkeys(tests | others, ""))

    assert {str(file.relative_to(folder)) for file in _tests_in(folder)} == tests
    assert list(_tests_in(folder / "one.py")) == [folder / "one.py"]


@pytest.mark.parametrize(("name", "message"), [("none.py", "does not exist"), ("b.test.json", "is neither Python nor")])
def test_a_path_that_is_no_test_is_refused(written: Written, name: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        list(_tests_in(written({"b.test.json": ""}) / name))


def test_without_tests_it_says_what_they_are_called(tmp_path: Path) -> None:
    done = COMMANDS.run(["test"], cwd=tmp_path, env=clean_environment())

    assert done.returncode == 1
    assert "[no_tests]" in done.stderr
    assert "*.test.ts" in done.stderr


@pytest.mark.parametrize(("has_pip", "command"), [(True, "-m pip install pytest"), (False, "uv pip install --python ")])
def test_without_pytest_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, written: Written, has_pip: bool, command: str
) -> None:
    from click.testing import CliRunner

    from cli.root import zmesh

    monkeypatch.setattr("importlib.util.find_spec", lambda name: (name == "pip" and has_pip) or None)
    done = CliRunner().invoke(zmesh, ["test", str(written({"test_one.py": ""}))], standalone_mode=False)

    assert isinstance(done.exception, CliError)
    assert done.exception.code == "pytest_missing"
    assert command in done.exception.hint


def test_vitest_runs_what_does_not_import_the_other_runner(monkeypatch: pytest.MonkeyPatch, written: Written) -> None:
    files = {"a.test.ts": "import 'vitest'", "b.test.js": "require('node:test')", "test_c.py": "", "package.json": "{}"}
    folder = written(files)
    monkeypatch.chdir(folder)
    assert [_runner(folder / name) for name in list(files)[:3]] == ["node:test", "node:test", "pytest"]
    written({"package.json": json.dumps({"devDependencies": {"vitest": "^4"}})})
    assert [_runner(folder / name) for name in list(files)[:3]] == ["vitest", "node:test", "pytest"]
    done = COMMANDS.run(["test"], cwd=folder, env=clean_environment())
    assert "[vitest_missing]" in done.stderr
    assert "npm install" in done.stderr


def test_an_error_in_a_migration_has_its_place(prepared: str, written: Written) -> None:
    folder = written({"migrations/0001_one.sql": "select 1;\nselect nothing;", "schema.sql": "not read"})

    with pytest.raises(CliError, match="does not exist") as raised:
        apply_sql_of(folder, prepared)

    assert raised.value.code == "42703"
    assert "migrations/0001_one.sql:2:8" in raised.value.place


@pytest.mark.parametrize("report", ["", "<testsuites", "<testsuites></testsuites>"])
def test_a_runner_that_reports_no_test_has_failed(report: str, tmp_path: Path) -> None:
    def runner(files: object, path: Path, limit: Limit) -> list[str]:
        if report:
            path.write_text(report)
        return ["true"]

    assert _run(runner, [], tmp_path / "report", {"PATH": os.defpath}, Limit(0, chosen=False)) == ([], True)
