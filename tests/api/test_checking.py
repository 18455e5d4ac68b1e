"""Code is checked before it is deployed, without being executed; only what certainly cannot load is refused."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from api.management import checking
from api.management.bounded_processes import bounded
from api.management.checking import Checker, Code
from sandbox.confinement import kernel
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
        ("python", "import flask\nserver = flask.Flask(__name__)\n", "deploy with --entry-point server"),
        ("javascript", "require('express')().listen(3000);", "export the application instead (module.exports = app)"),
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


def fault_of_folder(language: str, entry_file: str, code: str, **files: str) -> tuple[str, str, str] | None:
    """The same of a folder; names of files have __ for / and ___ for a dot."""
    paths = {name.replace("___", ".").replace("__", "/"): text for name, text in files.items()}
    raw = msgspec.Raw(json.dumps(paths).encode())
    [problem] = asyncio.run(Checker().problems(PROJECT, [Code("f", language, "handler", code, entry_file, raw)]))
    return problem and (problem.code, problem.detail, problem.errors[0]["message"])


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (
            lambda: fault("javascript", "\nimport { a } from './a.js';\nexport const handler = () => a;"),
            "send-mail.js:2\nimport { a } from './a.js';\n                  ^",
        ),
        (lambda: fault("javascript", "const a = require('./a');\nexports.handler = () => a;"), "send-mail.js:1\n"),
        (
            lambda: fault_of_folder(
                "typescript",
                "index.ts",
                "import './lib/a';\nexport const handler = 1;",
                lib__a___ts="export * from '../b';",
            ),
            "lib/a.ts:1\n",
        ),
        (
            lambda: fault_of_folder("typescript", "index.ts", "export { handler } from '../../lib/a';", a___ts=""),
            "index.ts:1\n",
        ),
        (lambda: fault("python", f"from .a import b\n{ECHO}"), 'File "send-mail.py", line 1'),
        (
            lambda: fault_of_folder("python", "main.py", f"import lib.a\n{ECHO}", lib__a___py="\nfrom .b import c"),
            'File "lib/a.py", line 2',
        ),
    ],
)
def test_an_import_of_a_file_that_is_not_there_is_named_with_file_and_line(found: Any, place: str) -> None:
    code, said, where = found()
    assert code == "import_not_found"
    assert "which is not there" in said
    assert where.startswith(place)


@pytest.mark.parametrize("address", ["https://deno.land/std@0.168.0/http/server.ts", "jsr:@std/path@1"])
def test_an_import_from_an_address_is_refused_with_what_works_instead(address: str) -> None:
    found = fault(
        "typescript", f'import {{ serve }} from "{address}"\nserve(() => new Response());\nDeno.serve(serve);'
    )
    assert found is not None
    assert (found[0], "import the npm package" in found[1]) == ("import_not_found", True)
    assert found[2].startswith("send-mail.ts:1\n")


@pytest.mark.parametrize("rest", ["", "@seen class A {}", "await seen();"])
def test_imports_of_declarations_are_no_imports(rest: str) -> None:
    code = (
        f'import "jsr:@supabase/functions-js/edge-runtime.d.ts"\nconst seen = (): any => 1;\n{rest}\nDeno.serve(seen);'
    )
    assert fault("typescript", code) is None


@pytest.mark.parametrize(("uses", "is_refused"), [("reflect-metadata", True), ("something-else", False)])
def test_metadata_of_decorators_is_refused_where_it_is_used(uses: str, is_refused: bool) -> None:
    found = fault_of_folder(
        "typescript", "index.ts", f"import '{uses}';\n\n@injected class A {{}}\nexport const handler = () => new A();",
        tsconfig___json='{"extends": "./base"}', base___json='{"compilerOptions": {"emitDecoratorMetadata": true}}',
    )  # fmt: skip
    assert (found is not None) == is_refused
    if found is not None:
        assert "emitDecoratorMetadata is not supported" in found[1]
        assert found[2].startswith("index.ts:3\n@injected class A {}")


IMPORTS = """
import a from './a.js'; import './styles.css'; import b from "./b"; import c from './c/index'; import d from './c';
import e from './data.json' with { type: 'json' }; import f from './g%20h.mjs?fresh'; import './_types/x.js';
import g from './node_modules/g/index.js'; import('./written-later.js').catch(() => {});
// import './comment.js';
export const handler = () => `import './text.js'`;
"""


@pytest.mark.parametrize(
    "found",
    [
        lambda: fault_of_folder(
            "typescript", "index.ts", IMPORTS, a___ts="", styles___css="", b___tsx="", c__index___mts="",
            data___json="{}", **{"g h___mjs": "", "_types__x___ts": ""},
        ),
        lambda: fault("javascript", "try { require('./a') } catch {}\nexports.handler = () => require('./b');"),
        lambda: fault("javascript", "exports.handler = () => `\nconst a = require('./a');\n`;"),
        lambda: fault("javascript", "/*\nconst a = require('./a');\n*/\nexports.handler = () => 1;"),
        lambda: fault_of_folder(
            "python", "app/main.py", f"from . import a, b\nfrom .c import d\nfrom ..lib import e\n{ECHO}",
            app__a___py="", app__c__d___py="", lib__e___py="",
        ),
        lambda: fault("python", f"try:\n    from .a import b\nexcept ImportError:\n    b = 1\n{ECHO}"),
    ],
)  # fmt: skip
def test_imports_that_may_be_found_are_never_refused(found: Any) -> None:
    assert found() is None


MARK = "of-another-file"
OUTSIDE = {
    "compilerOptions": {"jsxImportSource": MARK},
    "version": 3,
    "sources": [MARK],
    "sourcesContent": [MARK],
    "names": [],
    "mappings": "AAAA",
}


@pytest.mark.parametrize("prefix", ["", "file://", "../../../../../../../.."])
def test_the_compiler_reads_no_files_but_those_of_the_function(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "outside.json").write_text(json.dumps(OUTSIDE))
    (tmp_path / "link").symlink_to("outside.json")
    for path in (f"{prefix}{tmp_path}/outside.json", f"{prefix}{tmp_path}/link"):
        paths = {"compilerOptions": {"paths": {"*": [path]}, "baseUrl": "/"}}
        files = {
            "tsconfig.json": json.dumps({"extends": path, **paths}),
            "a.tsx": f"/// <reference path='{path}' />\nimport x from '{path}';\nexport default <a/>;",
        }
        code = f"export * from '{path}'; @a class B {{}}\n//# sourceMappingURL={path}"
        job = {"language": "typescript", "filename": "f.ts", "code": code, "files": files}
        script = tmp_path / "compile.js"
        library = json.dumps(str(checking._sdk() / "javascript" / "lib" / "compiling.js"))
        script.write_text(
            f"require({library}).compileAll({json.dumps(job)}).then((a) => console.log(JSON.stringify(a)))"
        )
        command = checking._node()
        assert command is not None
        node = next(part for part in command if part.endswith("/node"))
        done = subprocess.run([node, script], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "__decorate" in done.stdout
        assert MARK not in done.stdout


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
        ("javascript", "const app = require('express')();\nmodule.exports = app;\napp.listen(3000);"),
        ("javascript", "import express from 'express';\nconst app = express();\nexport default app;"),
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
    shows = bounded(["/bin/cat", "/proc/self/oom_score_adj"], memory_bytes=0)
    assert asyncio.run(checking._run(shows, b"")) == b"1000\n"


TRIES = """
const { readFileSync, readdirSync, writeFileSync } = require("fs");
const attempt = (action) => { try { action(); return "done"; } catch (error) { return error.code; } };
const [secret, folder, parent, port] = process.argv.slice(1);
const found = {
  own: attempt(() => readFileSync(process.execPath)),
  read: attempt(() => readFileSync(secret)),
  list: attempt(() => readdirSync(folder)),
  environment: attempt(() => readFileSync(`/proc/${parent}/environ`)),
  write: attempt(() => writeFileSync(`${folder}/x`, "x")),
  signal: attempt(() => process.kill(parent, 0)),
};
const say = ({ code }) => console.log(JSON.stringify({ ...found, connect: code }));
require("net").connect(port, "127.0.0.1").on("error", say);
"""


def node_running(*arguments: str) -> list[str]:
    """The parser's command, with another program."""
    command = checking._node()
    assert command is not None
    return [*command[:-1], *arguments]


@pytest.mark.skipif(kernel.landlock_version() < 6, reason="Landlock of this kernel cannot limit all of it")
def test_a_parser_reads_nothing_but_itself_and_reaches_nobody(tmp_path: Path) -> None:
    secret = tmp_path / "secrets.json"
    secret.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = (str(secret), str(tmp_path), str(os.getpid()), str(server.getsockname()[1]))
        output = asyncio.run(checking._run(node_running("-e", TRIES, *given), b""))
    assert output is not None
    found = json.loads(output)
    assert found.pop("own") == "done"
    assert found.pop("signal") == "EPERM"
    assert set(found.values()) == {"EACCES"}


def test_a_parser_is_limited_in_memory_beside_its_heap() -> None:
    takes = "const all = []; for (let n = 0; n < 30; n++) all.push(Buffer.alloc(100e6, n)); console.log('taken')"
    assert asyncio.run(checking._run(node_running("-e", takes), b"")) is None


def test_what_a_parser_has_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "SECONDS", 1.0)
    starts = bounded(["/bin/sh", "-c", "sleep 4321.125 & sleep 4321.125"])
    assert asyncio.run(checking._run(starts, b"")) is None
    commands = [place.read_bytes() for place in Path("/proc").glob("[0-9]*/cmdline") if place.exists()]
    assert [command for command in commands if b"4321.125" in command] == []


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
