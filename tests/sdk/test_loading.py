"""How code is loaded, its handler found and called."""

from __future__ import annotations

import pytest

from tests.sdk.runtimes import run


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def handler(payload, zmesh): return [payload, zmesh.project_id[:4]]"),
        ("python", "async def handler(payload, zmesh): return [payload, zmesh.project_id[:4]]"),
        ("python", "def handler(*both): return [both[0], both[1].project_id[:4]]"),
        ("python", "class Job:\n  def __call__(self, p, z): return [p, z.project_id[:4]]\nhandler = Job()"),
        ("python", "async def one(p, z): return [p, z.project_id[:4]]\ndef handler(p, z): return one(p, z)"),
        ("javascript", "exports.handler = (payload, zmesh) => [payload, zmesh.projectId.slice(0, 4)]"),
        ("javascript", "exports.handler = async (payload, zmesh) => [payload, zmesh.projectId.slice(0, 4)]"),
        ("javascript", "module.exports = (payload, zmesh) => [payload, zmesh.projectId.slice(0, 4)]"),
        ("javascript", "exports.default = (payload, zmesh) => [payload, zmesh.projectId.slice(0, 4)]"),
        ("javascript", "module.exports = { default: { handler: (p, z) => [p, z.projectId.slice(0, 4)] } }"),
        ("javascript", "exports.handler = (p, z) => ({ then: (ok) => ok([p, z.projectId.slice(0, 4)]) })"),
        ("javascript", "exports.handler = function* () {}; exports.handler = (p, z) => [p, z.projectId.slice(0, 4)]"),
        (
            "typescript",
            "type A = { n: number };\nexports.handler = async (p: A, z: any): Promise<unknown> => "
            "[p, (z.projectId as string).slice(0, 4)];",
        ),
        ("javascript", "export const handler = (p, z) => [p, z.projectId.slice(0, 4)]"),
        ("javascript", "\ufeffexport default (payload, zmesh) => [payload, zmesh.projectId.slice(0, 4)]"),
        ("javascript", "const end = await 4; export function handler(p, z) { return [p, z.projectId.slice(0, end)] }"),
        ("javascript", "import { Client } from 'pg'; export { handler }; const handler = (p, z) => "
         "[p, Client && z.projectId.slice(0, 4)]"),
        ("typescript", "enum End { Y = 4 }\nexport const handler = (p: A, z: any) => [p, z.projectId.slice(0, End.Y)]"),
        ("typescript", "enum End { Y = 4 }\nexports.handler = (p: A, z: any) => [p, z.projectId.slice(0, End.Y)]"),
    ],
)  # fmt: skip
def test_a_handler_may_be_written_in_many_ways(language: str, code: str) -> None:
    assert run(language, code, {"n": 1}).result == [{"n": 1}, "0190"]


DECORATOR = """
import functools
def decorated(handler):
    @functools.wraps(handler)
    def inner({0}):
        return handler({0})
    return inner

"""


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("def handler(payload): return payload", 7),
        ("def handler(): return 'none'", "none"),
        ("async def handler(): return 'none'", "none"),
        (f"{DECORATOR.format('*all')}@decorated\ndef handler(payload): return payload", 7),
        (f"{DECORATOR.format('payload, zmesh')}@decorated\ndef handler(a, b, c=0): return a", 7),
        (f"{DECORATOR.format('payload')}@decorated\ndef handler(payload, zmesh=5): return zmesh", 5),
        ("handler = lambda payload, zmesh=None, extra=5: [payload, extra]", [7, 5]),
    ],
)
def test_a_python_handler_may_take_less_than_both_arguments(code: str, result: object) -> None:
    assert run("python", code, 7).result == result


@pytest.mark.parametrize(
    ("language", "code"),
    [("python", "def main(payload, zmesh): return 'main'"), ("javascript", "exports.main = () => 'main'")],
)
def test_the_entry_point_names_the_handler(language: str, code: str) -> None:
    assert run(language, code, entry_point="main").result == "main"
    error = run(language, code).error
    assert error["type"] == "entry_point_missing"
    assert '"handler"' in error["message"]
    assert "main" in error["message"]


@pytest.mark.parametrize(
    ("language", "code"),
    [("python", "handler = 5"), ("javascript", "exports.handler = 5"), ("javascript", ""), ("python", "")],
)
def test_a_missing_or_uncallable_handler_has_its_own_error(language: str, code: str) -> None:
    assert run(language, code).error["type"] == "entry_point_missing"


SERVERS = [
    ("javascript", "require('node:http').createServer().listen(0, '127.0.0.1');", "export the application instead"),
    ("javascript", "module.exports = { listen() {}, inject() {} };", "export its listener for node:http"),
    ("javascript", "exports.default = { listen() {}, getHttpAdapter() {} };", "app.getHttpAdapter().getInstance()"),
    (
        "python",
        "def server(environ, start_response): ...",
        '"server", name it app, or deploy with --entry-point server',
    ),
    (
        "python",
        "class Proxy:\n    __signature__ = property(lambda self: 1 / 0)\n    def __call__(self): ...\nx = Proxy()",
        "",
    ),
    *(
        (
            "python",
            f"class Application:\n    __module__ = '{framework}.web'\n    def __call__(self): ...\n"
            f"{name} = type('Mine', (Application,), {{}})()",
            f'"{name}" is an application of {framework}, which runs only in its own server',
        )
        for framework in ("aiohttp", "tornado")
        for name in ("app", "handler")
    ),
]


@pytest.mark.parametrize(("language", "code", "said"), SERVERS)
def test_an_application_that_cannot_be_run_is_told_how_to_be_adapted(language: str, code: str, said: str) -> None:
    error = run(language, code).error
    assert (error["type"], said in error["message"]) == ("entry_point_missing", True), error


def test_python_code_runs_in_a_module_of_its_own() -> None:
    code = """
        import os, sys, pickle
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int
        def handler(payload, zmesh):
            return [__name__, sys.modules[__name__].Point is Point, pickle.loads(pickle.dumps(Point(3))).x,
                os.path.basename(__file__), os.path.isabs(__file__)]
    """
    assert run("python", code).result == ["zmesh_function", True, 3, "send-welcome.py", True]


@pytest.mark.parametrize(
    ("language", "code", "place", "message"),
    [
        ("python", "x = 1\ndef handler(:\n", 'File "send-welcome.py", line 2', "invalid syntax"),
        ("python", "def handler(payload, zmesh):\nreturn 1", 'File "send-welcome.py", line 2', "expected an indented"),
        ("python", "x = '\0'", "null bytes", "null bytes"),
        ("javascript", "const x = 1;\nexports.handler = (;\n", "send-welcome.js:2", "Unexpected token ';'"),
        ("javascript", "}); process.exit(0); (() => {", "send-welcome.js:1", "Unexpected token '}'"),
        ("typescript", "\nconst x: = 5;", "send-welcome.ts:2", ""),
        ("typescript", "enum A { X }\n\nconst x: = 5;", "send-welcome.ts:3", ""),
        ("typescript", "\n@dec class A {}", "send-welcome.ts:2", "which compiles decorators and JSX, did not run"),
        ("javascript", "\n@dec class A {}", "send-welcome.js:2", "decorators need TypeScript"),
        (
            "typescript",
            "\nexport const x = <div>a</div>;",
            "send-welcome.ts:2",
            "which compiles decorators and JSX, did not run",
        ),
        ("javascript", "\nexports.x = <div>a</div>;", "send-welcome.js:2", "name the file .jsx or .tsx"),
        ("javascript", "export const a = 1;\nexport const b = (;", "send-welcome.js:2", "Unexpected token ';'"),
        ("javascript", "export default function () {}\nlet a; let a;", "send-welcome.js:2", "already been declared"),
        ("typescript", "export const a: number = 1;\nlet b; let b;", "send-welcome.ts:2", "already been declared"),
        ("javascript", "const a = await 1;\nexports.handler = () => a", "send-welcome.js:1", "as an ES module does"),
    ],
)
def test_code_that_does_not_compile_is_a_syntax_error_with_its_place(
    language: str, code: str, place: str, message: str
) -> None:
    error = run(language, code).error
    assert error["type"] == "syntax_error"
    assert place in error["stack"]
    assert message in error["message"]


@pytest.mark.parametrize(
    ("language", "code", "type", "line"),
    [
        ("python", "\n\nraise KeyError('gone')", "KeyError", "line 3"),
        ("python", "import nothing_of_that_name", "ModuleNotFoundError", "line 1"),
        ("javascript", "\n\nthrow new TypeError('gone')", "TypeError", "send-welcome.js:3:7"),
        ("typescript", "type A = {\n  a: 1 }\nthrow new TypeError('gone')", "TypeError", "send-welcome.ts:3:7"),
        ("javascript", "\nexport const a = 1;\nthrow new TypeError('gone')", "TypeError", "send-welcome.js:3:7"),
        ("typescript", "enum A {\n  X\n}\nthrow new TypeError('gone')", "TypeError", "send-welcome.ts:4:7"),
        ("typescript", "enum A {\n  X\n}\nexport {};\nthrow new TypeError('gone')", "TypeError", "send-welcome.ts:5:7"),
    ],
)
def test_an_exception_while_loading_keeps_its_class_and_line(language: str, code: str, type: str, line: str) -> None:
    error = run(language, code).error
    assert error["type"] == type
    assert line in error["stack"]


def test_require_finds_nodes_own_modules_and_pg() -> None:
    code = """
        const { createHash } = require('node:crypto');
        exports.handler = async () => {
            const { gzipSync } = await import('node:zlib');
            const { Client } = await import('pg');
            return [typeof require('pg').Client, typeof createHash, typeof gzipSync, Client === require('pg').Client,
                typeof require('fs').readFileSync, typeof require.resolve('pg')];
        };
    """
    assert run("javascript", code).result == ["function", "function", "function", True, "function", "string"]


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("left-pad", "package.json"), ("./other", "deploy a folder"), ("../runtime.js", "deploy a folder")],
)
def test_requiring_an_unknown_module_says_where_modules_come_from(name: str, way_out: str) -> None:
    error = run("javascript", f"const x = require('{name}');").error
    assert name in error["message"]
    assert way_out in error["message"]
    assert "sdk" not in error["message"]
    assert error["stack"].endswith("(send-welcome.js:1:11)")


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("python", "import reqests", "No module named 'reqests' (packages are named in requirements.txt"),
        ("python", "import json.nope", "No module named 'json.nope'"),
        ("javascript", "import x from 'left-pad'", "send-welcome.js (packages are named in package.json"),
    ],
)
def test_importing_a_missing_package_says_where_packages_are_named(language: str, code: str, message: str) -> None:
    said = run(language, code).error["message"]
    assert message in said
    assert ("packages are named" in said) == ("packages are named" in message)


CALLABLES = {
    "zmesh by keyword": "def handler(payload, *, zmesh): return [payload, zmesh.project_id[:4]]",
    "both by keyword": "async def handler(*, zmesh, payload): return [payload, zmesh.project_id[:4]]",
    "another keyword with a default": "def handler(payload, zmesh, *, end=4): return [payload, zmesh.project_id[:end]]",
    "a bound method": """
        class Job:
            end = 4
            def run(self, p, z): return [p, z.project_id[:self.end]]
        handler = Job().run
    """,
    "a bound method with keywords": """
        class Job:
            def run(self, payload, *, zmesh): return [payload, zmesh.project_id[:4]]
        handler = Job().run
    """,
    "a class method": """
        class Job:
            @classmethod
            async def run(cls, p, z): return [p, z.project_id[:4]]
        handler = Job.run
    """,
    "a partial": """
        import functools
        def work(end, p, z): return [p, z.project_id[:end]]
        handler = functools.partial(work, 4)
    """,
    "a partial with a keyword": """
        import functools
        def work(p, z, *, end): return [p, z.project_id[:end]]
        handler = functools.partial(work, end=4)
    """,
    "an asynchronous callable object": """
        class Job:
            async def __call__(self, p, z): return [p, z.project_id[:4]]
        handler = Job()
    """,
    "a decorated function with a keyword": """
        import functools
        def decorated(work):
            @functools.wraps(work)
            def inner(*args, **kwargs): return work(*args, **kwargs)
            return inner
        @decorated
        def handler(payload, *, zmesh): return [payload, zmesh.project_id[:4]]
    """,
    "a byte order mark": "\ufeffdef handler(payload, zmesh): return [payload, zmesh.project_id[:4]]",
}


@pytest.mark.parametrize("what", CALLABLES)
def test_whatever_python_can_call_is_a_handler(what: str) -> None:
    assert run("python", CALLABLES[what], {"n": 1}).result == [{"n": 1}, "0190"]


EXPORTS = {
    "an instance": "class Job { end = 4; handler(p, z) { return [p, z.projectId.slice(0, this.end)] } }\n"
    "module.exports = new Job()",
    "a class": "module.exports = class { end = 4; handler(p, z) { return [p, z.projectId.slice(0, this.end)] } }",
    "a default class": "exports.default = class { end = 4;"
    " handler(p, z) { return [p, z.projectId.slice(0, this.end)] } }",
    "a class with a static method": "module.exports = class { static end = 4;"
    " static handler(p, z) { return [p, z.projectId.slice(0, this.end)] } }",
    "an object": "module.exports = { end: 4, handler(p, z) { return [p, z.projectId.slice(0, this.end)] } }",
    "a byte order mark": "\ufeffexports.handler = (p, z) => [p, z.projectId.slice(0, 4)]",
}


@pytest.mark.parametrize("what", EXPORTS)
def test_a_handler_is_called_as_a_method_of_what_exports_it(what: str) -> None:
    assert run("javascript", EXPORTS[what], {"n": 1}).result == [{"n": 1}, "0190"]


def test_typescript_may_begin_with_a_byte_order_mark() -> None:
    assert run("typescript", "\ufeffexports.handler = (): number => 1").result == 1


def test_a_class_that_is_no_handler_says_what_to_export() -> None:
    error = run("javascript", "exports.handler = class {}").error
    assert error["type"] == "entry_point_missing"
    assert error["message"].startswith("exports.handler is a class: export a function")


def test_javascript_has_the_names_of_a_commonjs_module() -> None:
    code = """
        const path = require('node:path');
        exports.handler = () => [path.basename(__filename), __dirname === process.cwd(), module.filename === __filename,
            module.exports === exports, require.main === module, typeof require.cache, process.argv[1] === __filename,
            path.basename(require.resolve.paths('x')[0])];
    """
    expected = ["send-welcome.js", True, True, True, False, "object", True, "node_modules"]
    assert run("javascript", code).result == expected
