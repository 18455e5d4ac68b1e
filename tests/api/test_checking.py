"""Code is checked before it is deployed, without being executed; only what certainly cannot load is refused."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from api.management import checking
from api.management.checking import Checker, Code
from tests.api.client import ECHO, Api, refused

PROJECT = uuid4()


def fault(language: str, code: str, entry_point: str = "handler") -> tuple[str, str, str] | None:
    """Code, message and place of what is wrong."""
    [problem] = asyncio.run(Checker().problems(PROJECT, [Code("send-mail", language, entry_point, code)]))
    return problem and (problem.code, problem.detail, problem.errors[0]["message"])


@pytest.mark.parametrize(
    ("language", "code", "place"),
    [
        ("python", "def handler(p, z):\n    return (1\n", 'File "send-mail.py", line 2\n    return (1\n           ^'),
        ("python", "def handler(p, z):\nreturn 1\n", 'File "send-mail.py", line 2\n    return 1\n    ^'),
        ("python", "def handler(p, z):\n    yield 1\nreturn 2\n", "'return' outside function"),
        ("javascript", "exports.handler = () => {\n  const a = ;\n};", "send-mail.js:2\n  const a = ;\n            ^"),
        ("javascript", "export const handler = () =>\n  (1;", "send-mail.js:2\n  (1;\n    ^"),
        ("typescript", "enum A { B }\n@job class C { @x y: = 1 }\nexports.handler = 1;", "send-mail.ts:2\n@job"),
        (
            "typescript",
            "\nexport const handler = () => <b>x</i>;",
            "send-mail.ts:2\nexport const handler = () => <b>x</i>;",
        ),
        ("typescript", "exports.handler = (p: {a: string) => 1;", "send-mail.ts"),
    ],
)
def test_a_syntax_error_is_named_with_file_line_and_caret(language: str, code: str, place: str) -> None:
    found = fault(language, code)
    assert found is not None
    assert found[0] == "syntax_error"
    assert place in found[2]


@pytest.mark.parametrize(
    ("language", "code", "said"),
    [
        ("python", "def hander(payload, zmesh):\n    return 1\n", "did you mean hander?"),
        ("python", "x = 1\n", 'the code has no function "handler"'),
        ("python", "class A:\n    def run(self): pass\n", 'the code has no function "handler"'),
        ("javascript", "exports.hander = () => 1;", "it exports hander"),
        ("javascript", "const handler = () => 1;", "it exports nothing"),
        ("javascript", "export const hander = () => 1;\nexport { a as b }; let a;", "it exports hander, b"),
        ("typescript", "const handler = (p: string): string => p;", "it exports nothing"),
    ],
)
def test_an_entry_point_that_is_certainly_missing_is_named(language: str, code: str, said: str) -> None:
    found = fault(language, code)
    assert found is not None
    assert found[0] == "entry_point_missing"
    assert said in found[1]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", ECHO),
        ("python", "\ufeff" + ECHO),
        ("python", "async def handler(p): ...\n"),
        ("python", "handler = lambda p: p\n"),
        ("python", "from other import run as handler\n"),
        ("python", "from other import *\n"),
        ("python", "globals()['hand' + 'ler'] = print\n"),
        ("python", "import sys\nsetattr(sys.modules[__name__], 'x', 1)\n"),
        ("python", "ｈandler = print\n"),  # the same identifier to Python
        ("python", "if True:\n    def handler(p): pass\n"),
        ("python", "class Handler:\n    def __call__(self, p): return p\nmain, handler = 1, Handler()\n"),
        ("python", "x = " + "-" * 90_000 + "1\n" + ECHO),  # parsers give up at different depths
        ("python", "from fastapi import FastAPI\napp = FastAPI()\n"),
        ("javascript", "Deno.serve(() => new Response());"),
        ("javascript", "addEventListener('fetch', () => {});"),
        ("javascript", "exports.GET = () => new Response();"),
        ("javascript", "export function POST() {}"),
        ("javascript", "export default { fetch() {} };"),
        ("javascript", "module.exports = async () => 1;"),
        ("javascript", "module.exports = { handler() {} };"),
        ("javascript", "exports.default = () => 1;"),
        ("javascript", "exports['han' + 'dler'] = () => 1;"),
        ("javascript", "Object.assign(exports, { handler: () => 1 });"),
        ("javascript", "this.handler = () => 1;"),
        ("javascript", "arguments[0].handler = () => 1;"),
        ("javascript", "eval('exp' + 'orts.handler = () => 1');"),
        ("javascript", "exp\\u006frts.handler = () => 1;"),
        ("javascript", "module.exports.handler = async () => await import('pg');"),
        ("javascript", "exports.handler = () => " + "(" * 20000 + "1" + ")" * 20000 + ";"),
        ("typescript", "interface A { b: string }\nexports.handler = (a: A): string => a.b;"),
        ("typescript", "@sealed\nclass A { @once x = 1 }\nexport const handler = () => new A();"),
        ("typescript", "export const handler = (p: { a: string }) => <b>{p.a}</b>;"),
    ],
)
def test_code_that_may_work_is_never_refused(language: str, code: str) -> None:
    assert fault(language, code) is None


def test_nothing_is_executed(tmp_path: Any) -> None:
    mark = tmp_path / "executed"
    python = f"open({str(mark)!r}, 'w')\ndef handler(p, z): ...\n"
    javascript = f"require('fs').writeFileSync({str(mark)!r}, ''); exports.handler = () => 1;"
    assert fault("python", python) is None
    assert fault("javascript", javascript) is None
    assert not mark.exists()


def test_code_that_is_too_much_for_a_parser_is_let_through_and_hides_no_other() -> None:
    bomb = Code("bomb", "python", "handler", "handler = " + "-" * 900_000 + "1")
    broken = Code("broken", "python", "handler", "def handler(:")
    first, second = asyncio.run(Checker().problems(PROJECT, [bomb, broken]))
    assert first is None
    assert second is not None
    assert second.code == "syntax_error"


def test_a_project_that_keeps_the_parsers_busy_does_not_keep_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        busy, finish = asyncio.Event(), asyncio.Event()

        async def run(command: list[str], jobs: bytes) -> bytes | None:
            if json.loads(jobs)[0]["code"] == "slow":
                busy.set()
                await finish.wait()
            return b"[null]"

        monkeypatch.setattr(checking, "_run", run)
        checker = Checker()
        slow = [asyncio.create_task(checker.problems(PROJECT, [Code("a", "python", "handler", "slow")])) for _ in "123"]
        await busy.wait()
        other = asyncio.create_task(checker.problems(uuid4(), [Code("b", "python", "handler", "quick")]))
        assert await asyncio.wait_for(other, 30) == [None]
        assert not any(task.done() for task in slow)
        finish.set()
        assert await asyncio.gather(*slow) == [[None]] * 3

    asyncio.run(act())


def test_a_deployment_of_bombs_ends_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    runs = []

    async def run(command: list[str], jobs: bytes) -> bytes | None:
        nonlocal now
        runs.append(jobs)
        now += checking.SECONDS
        return None

    monkeypatch.setattr(checking, "_run", run)
    monkeypatch.setattr(checking, "time", SimpleNamespace(monotonic=lambda: now))
    codes = [Code(f"bomb-{number}", "python", "handler", "bomb") for number in range(100)]
    assert asyncio.run(Checker()._problems(codes)) == [None] * 100
    assert len(runs) == 1 + checking.SECONDS_ONE_BY_ONE / checking.SECONDS


@pytest.mark.parametrize(
    ("language", "code"), [("python", "x = " + "1" * 500_000 + " ("), ("javascript", "x = '" + "y" * 500_000 + "' (")]
)
def test_a_parser_says_a_bounded_amount_about_a_long_line(language: str, code: str) -> None:
    command = checking._python() if language == "python" else checking._node()
    assert command is not None
    output = asyncio.run(checking._run(command, checking._requests([Code("long", language, "handler", code)])))
    assert output is not None
    assert json.loads(output)[0]["type"] == "syntax_error"
    assert len(output) < 100_000


def test_a_parser_is_ended_before_the_api_where_memory_runs_out() -> None:
    shows = ["0", "/bin/cat", "/proc/self/oom_score_adj"]
    assert asyncio.run(checking._run(shows, b"")) == b"1000\n"


def test_a_deployment_with_code_that_cannot_load_is_refused_as_a_whole_unless_forced(api: Api) -> None:
    good = {"name": "good", "language": "python", "code": ECHO}
    bad = {"name": "bad", "language": "javascript", "code": "exports.handler = ("}
    problem = refused(api.call("POST", "/deployments", json={"functions": [good, bad]}), 422, "syntax_error")
    assert problem["errors"][0]["field"] == "functions.1.code"
    assert '"bad"' in problem["detail"]
    assert "Nothing was deployed" in problem["detail"]
    assert api.call("GET", "/functions").json()["items"] == []
    assert api.call("POST", "/deployments?force=true", json={"functions": [good, bad]}).status_code == 200


def test_a_change_of_the_entry_point_alone_is_checked_against_the_code_that_is_there(api: Api) -> None:
    api.deploy("greet")
    change = {"name": "greet", "entry_point": "main"}
    refused(api.call("POST", "/deployments", json={"functions": [change]}), 422, "entry_point_missing")
    assert api.call("POST", "/deployments", json={"functions": [{"name": "greet", "timeout_ms": 5}]}).status_code == 200
