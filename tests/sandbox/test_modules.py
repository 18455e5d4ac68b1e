"""ES modules, TypeScript and Python packages: how they load, and where their errors are said to be."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from sandbox import RunOutcome
from tests.sandbox.hosts import Host

Files = Mapping[str, str | bytes]
LANGUAGES = {".py": "python", ".ts": "typescript", ".mts": "typescript", ".cts": "typescript"}
pytestmark = pytest.mark.parametrize("kind", ["root" if os.geteuid() == 0 else "user_namespace"])


def run(host: Host, files: Files, entry_file: str, **options: Any) -> RunOutcome:
    """A run of a folder with these files."""
    others = {path: textwrap.dedent(text) if isinstance(text, str) else text for path, text in files.items()}
    code = others.pop(entry_file)
    language = LANGUAGES.get(os.path.splitext(entry_file)[1], "javascript")
    return host.run(language, code, whole=True, entry_file=entry_file, files=others, **options)


def value(outcome: RunOutcome) -> Any:
    assert outcome.result_json is not None, outcome
    return json.loads(outcome.result_json)


# What works: files of a folder, the first of which is the entry file, and the result.

HELLO = "export const handler = (payload) => [payload, 'hello'];"
WORKS: dict[str, tuple[Files, Any]] = {
    "an .mjs file": ({"index.mjs": HELLO}, [{}, "hello"]),
    "a package of type module": ({"index.js": HELLO, "package.json": '{"type":"module"}'}, [{}, "hello"]),
    "a folder's own package.json": (
        {
            "src/index.js": "import { a } from './a.js'; import b from '../b.js'; export const handler = () => [a, b];",
            "src/package.json": '{"type":"module"}',
            "src/a.js": "export const a = 'esm';",
            "b.js": "module.exports = 'cjs';",
        },
        ["esm", "cjs"],
    ),
    **{
        f"JSON without an attribute in {entry}": (
            {
                entry: """
                    import a from "./data/a.json";
                    import b from "./data/a.json" with { type: "json" };
                    export const handler = async () => [a.n, a === b, (await import("./data/a.json")).default === a];
                """,
                "data/a.json": '{"n": 7}',
            },
            [7, True, True],
        )
        for entry in ("index.mjs", "index.ts")
    },
    "export in the text": ({"index.js": HELLO}, [{}, "hello"]),
    "export default": ({"index.mjs": "export default async (payload) => [payload, 1];"}, [{}, 1]),
    "export default of an object": ({"index.mjs": "export default { handler: () => 1 };"}, 1),
    "top-level await": (
        {
            "index.mjs": "const value = await new Promise((ok) => setTimeout(ok, 5, 7));\nexport const handler = () => value;"
        },
        7,
    ),
    "top-level await in an import": (
        {
            "index.mjs": "import { x } from './x.mjs'; export const handler = () => x;",
            "x.mjs": "export const x = await 5;",
        },
        5,
    ),
    "import.meta": (
        {
            "src/index.mjs": """
                import path from 'node:path';
                import { fileURLToPath } from 'node:url';
                const { url, dirname, filename } = import.meta;
                export const handler = () => [
                  path.relative(process.cwd(), filename), dirname === path.dirname(filename), fileURLToPath(url) === filename,
                  import.meta.resolve('./x.js') === new URL('./x.js', url).href, process.argv[1] === filename,
                ];
            """
        },
        ["src/index.mjs", True, True, True, True],
    ),
    "dynamic import": (
        {"index.js": "exports.handler = async () => (await import('./x.mjs')).default;", "x.mjs": "export default 3;"},
        3,
    ),
    "JSON by an import attribute": (
        {
            "index.mjs": "import data from './d.json' with { type: 'json' }; export const handler = () => data;",
            "d.json": "[1]",
        },
        [1],
    ),
    "the bundled pg": (
        {
            "index.mjs": "import pg, { Client } from 'pg'; export const handler = () => [typeof pg.Pool, pg.Client === Client];"
        },
        ["function", True],
    ),
    "require of the bundled pg in a helper": (
        {
            "index.js": "exports.handler = require('./db').f;",
            "db.js": "const { Client } = require('pg'); exports.f = () => typeof Client;",
        },
        "function",
    ),
    "cycles": (
        {
            "a.mjs": "import { b } from './b.mjs'; export const a = () => 'a'; export const handler = () => b();",
            "b.mjs": "import { a } from './a.mjs'; export const b = () => a() + 'b';",
        },
        "ab",
    ),
    "a cycle of require that includes the entry file": (
        {
            "a.js": "exports.a = 1; exports.handler = () => require('./b').b;",
            "b.js": "exports.b = require('./a').a + 1;",
        },
        2,
    ),
    "live bindings": (
        {
            "index.mjs": "import { n, add } from './n.mjs'; export const handler = () => { add(); add(); return n; };",
            "n.mjs": "export let n = 0; export const add = () => { n += 1; };",
        },
        2,
    ),
    "require of an ES module": (
        {"index.js": "const { x } = require('./x.mjs'); exports.handler = () => x;", "x.mjs": "export const x = 9;"},
        9,
    ),
    "an ES module that imports CommonJS": (
        {
            "index.mjs": "import d, { x } from './x.cjs'; export const handler = () => [d.x, x];",
            "x.cjs": "exports.x = 4;",
        },
        [4, 4],
    ),
    "createRequire": (
        {
            "index.mjs": """
                import { createRequire } from 'node:module';
                const require = createRequire(import.meta.url);
                const { x } = require('./x.cjs');
                export const handler = () => x;
            """,
            "x.cjs": "exports.x = 4;",
        },
        4,
    ),
    "the names of CommonJS": (
        {
            "src/index.js": """
                const path = require('node:path');
                exports.handler = () => [path.relative(process.cwd(), __filename), require.resolve('./data.json') ===
                  path.join(__dirname, 'data.json'), require('./data.json'), require.main === module, module.parent ?? null,
                  require.cache[__filename] === module, module.exports === exports];
            """,
            "src/data.json": "[1]",
        },
        ["src/index.js", True, [1], False, None, True, True],
    ),
    "a package in node_modules": (
        {
            "index.mjs": "import own from 'own'; import { sub } from 'own/sub'; export const handler = () => [own, sub];",
            "node_modules/own/package.json": '{"exports":{".":{"import":"./i.mjs","require":"./r.js"},"./sub":"./s.mjs"}}',
            "node_modules/own/i.mjs": "export default 'by import';",
            "node_modules/own/s.mjs": "export const sub = 1;",
        },
        ["by import", 1],
    ),
    "its own version of pg": (
        {"index.js": "exports.handler = () => require('pg');", "node_modules/pg/index.js": "module.exports = 'mine';"},
        "mine",
    ),
    "imports of package.json": (
        {
            "index.mjs": "import { x } from '#x'; export const handler = () => x;",
            "package.json": '{"type":"module","imports":{"#x":"./lib/x.js"}}',
            "lib/x.js": "export const x = 6;",
        },
        6,
    ),
    "files named like the runtime's own": (
        {
            "runtime.js": "exports.handler = () => [require('./lib/loading').x, require('./lib/zmesh').y];",
            "lib/loading.js": "exports.x = 1;",
            "lib/zmesh.js": "exports.y = 2;",
        },
        [1, 2],
    ),
    "spaces and other letters in paths": (
        {
            "my süb/ïndex file.mjs": "import { x } from './ä b.mjs'; export const handler = () => x;",
            "my süb/ä b.mjs": "export const x = 1;",
        },
        1,
    ),
    "TypeScript": (
        {
            "index.ts": "import { double } from './lib/double.ts';\nimport type { N } from './n';\n"
            "export const handler = (payload: N): number => double(21);",
            "lib/double.ts": "export const double = (n: number): number => 2 * n;",
        },
        42,
    ),
    "TypeScript without endings": (
        {
            "src/index.ts": "import { a } from './a';\nimport { b } from '../lib';\nimport { c } from './c.js';\n"
            "import d from './d.json' with { type: 'json' };\nexport const handler = () => [a, b, c, d];",
            "src/a.ts": "export const a: number = 1;",
            "lib/index.ts": "export const b: number = 2;",
            "src/c.ts": "export const c: number = 3;",
            "src/d.json": "4",
        },
        [1, 2, 3, 4],
    ),
    "TypeScript that requires": (
        {
            "index.cts": "const { a } = require('./a'); import b = require('./b.cjs'); exports.handler = (): number[] => [a, b.b];",
            "a.ts": "enum A { X = 5 }\nexports.a = A.X;",
            "b.cjs": "exports.b = 6;",
        },
        [5, 6],
    ),
    ".mts and .cts": (
        {
            "index.mts": "import { a } from './a.mjs';\nimport { b } from './b.cts';\nexport const handler = () => [a, b];",
            "a.mts": "export const a: number = await 1;",
            "b.cts": "exports.b = 2 as number;",
        },
        [1, 2],
    ),
    "enums, namespaces and parameter properties": (
        {
            "index.ts": """
                enum Color { Red = 'red', Blue = 'blue' }
                const enum Size { S = 1, L = 10 }
                namespace Shapes { export const sides = (n: number) => n * 2; }
                class Job { constructor(private readonly n: number, public m = 1) {} total() { return this.n + this.m; } }
                export const handler = () => [Color.Blue, Size.L, Shapes.sides(2), new Job(4).total()];
            """
        },
        ["blue", 10, 4, 5],
    ),
    "paths of tsconfig.json": (
        {
            "src/index.ts": "import { a } from '@/a';\nimport { b } from '@lib/b.ts';\nimport { c } from 'c';\n"
            "export const handler = () => [a, b, c];",
            "src/a.ts": "export const a: number = 1;",
            "lib/b.ts": "export const b: number = 2;",
            "base/c.ts": "export const c: number = 3;",
            "tsconfig.json": '{ // of the compiler\n"compilerOptions": {"baseUrl": "base", /* "x": "//" */'
            ' "paths": {"@/*": ["../nowhere/*", "../src/*"], "@lib/*": ["../lib/*"],}, },}',
        },
        [1, 2, 3],
    ),
    "a tsconfig.json that extends others": (
        {
            "src/index.ts": "import { a } from '@/a';\nimport { c } from 'c';\nexport const handler = () => [a, c];",
            "src/a.ts": "export const a: number = 1;",
            "configs/own/c.ts": "export const c: number = 3;",
            "tsconfig.json": '{"extends": ["@tsconfig/node22/tsconfig.json", "./configs/paths", "./configs/base"]}',
            "configs/paths.json": '{"extends": "./base.json", "compilerOptions": {"paths": {"@/*": ["../../src/*"]}}}',
            "configs/base.json": '{"extends": "./paths.json", "compilerOptions": {"baseUrl": "own"}}',  # in a circle
        },
        [1, 3],
    ),
    "a single TypeScript file of a package of type module": (
        {"index.ts": "export const handler = (n: number) => typeof require;", "package.json": '{"type":"module"}'},
        "undefined",
    ),
    "Python packages": (
        {
            "app/main.py": """
                import os, sys, pickle
                from . import db
                from .models.user import User
                from shared import helper
                def handler(payload, zmesh):
                    me = sys.modules[__name__]
                    return [db.NAME, User(3).n, helper.x, __name__, __package__, os.path.relpath(__file__), me.handler is handler,
                            pickle.loads(pickle.dumps(User(4))).n, os.path.relpath(sys.path[0]), __import__("app.main").main is me]
            """,
            "app/__init__.py": "ready = True",
            "app/db.py": "NAME = __name__",
            "app/models/__init__.py": "",
            "app/models/user.py": "from ..db import NAME\nclass User:\n    def __init__(self, n): self.n = n",
            "shared/helper.py": "x = __package__",
        },
        ["app.db", 3, "shared", "app.main", "app", "app/main.py", True, 4, "app", True],
    ),
    "namespace folders of Python": (
        {
            "main.py": "import parts.one, parts.deep.two as two\ndef handler(p, z): return [parts.one.x, two.y, __name__, __package__]",
            "parts/one.py": "x = 1",
            "parts/deep/two.py": "from ..one import x\ny = x + 1",
        },
        [1, 2, "main", ""],
    ),
    "modules named like Python's": (
        {
            "json.py": "import calendar, secrets\nfrom queue import x\ndef handler(p, z): return [calendar.a, secrets.KEY, x, __name__]",
            "calendar.py": "a = 1",
            "secrets.py": "KEY = 2",
            "queue/__init__.py": "x = 3",
            "email/welcome.html": "<p>",
        },
        [1, 2, 3, "json"],
    ),
    "resources of a Python package": (
        {
            "main.py": "from importlib import resources\nimport pkg\ndef handler(p, z): return resources.files(pkg).joinpath('t.txt').read_text()",
            "pkg/__init__.py": "",
            "pkg/t.txt": "text",
        },
        "text",
    ),
    "multiprocessing": (
        {
            "app/main.py": """
                import multiprocessing
                from . import work
                def handler(p, z):
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        return pool.map(work.double, [4]) + pool.map(own, [4])
                def own(n): return n + 1
            """,
            "app/work.py": "def double(n): return 2 * n",
        },
        [8, 5],
    ),
}


@pytest.mark.parametrize("what", WORKS)
def test_modules_load(host: Host, what: str) -> None:
    files, result = WORKS[what]
    assert value(run(host, files, next(iter(files)))) == result


# What does not: the type of the error, a part of its message, and parts of its stack.

FAILS: dict[str, tuple[Files, str, str, list[str]]] = {
    "an error in a helper": (
        {"index.mjs": "import { f } from './lib/f.mjs';\nexport const handler = () => f();",
         "lib/f.mjs": "export function f() {\n  throw new TypeError('gone');\n}"},
        "TypeError", "gone", ["at f (lib/f.mjs:2:9)", "(index.mjs:2:30)"],
    ),
    "an error in a required helper": (
        {"src/index.js": "const { f } = require('./f');\nexports.handler = () => f();",
         "src/f.js": "exports.f = () => {\n  null.x;\n};"},
        "TypeError", "Cannot read properties of null", ["(src/f.js:2:8)", "(src/index.js:2:25)"],
    ),
    "an error in transformed TypeScript": (
        {"index.ts": "enum A {\n  X,\n  Y,\n}\n\nimport { f } from './f.ts';\nexport const handler = () => f(A.X);",
         "f.ts": "namespace N {\n  export const a = 1;\n}\nexport const f = (n: number): never => {\n  throw new RangeError('out ' + n);\n};"},
        "RangeError", "out 0", ["at f (f.ts:5:9)", "(index.ts:7:30)"],
    ),
    "a syntax error": ({"index.mjs": "export const a = 1;\nexport const handler = (;\n"}, "syntax_error", "Unexpected token ';'", ["index.mjs:2", "\n    "]),
    "a syntax error in a helper": (
        {"index.mjs": "import './lib/x.mjs';\nexport const handler = () => 1;", "lib/x.mjs": "\n\nlet a = ;"},
        "syntax_error", "Unexpected token ';'", ["lib/x.mjs:3", "let a = ;"],
    ),
    "a syntax error in a required helper": (
        {"index.js": "require('./x');", "x.js": "\n\nlet a = ;"},
        "syntax_error", "Unexpected token ';'", ["x.js:3", "let a = ;"],
    ),
    "a syntax error in TypeScript": (
        {"index.ts": "import './x';", "x.ts": "\nlet a: = 5;"}, "syntax_error", "", ["x.ts:2", "let a: = 5;"],
    ),
    "an export that is not there": (
        {"index.mjs": "import { y } from './x.mjs';\nexport const handler = () => y;", "x.mjs": "export const x = 1;"},
        "syntax_error", "does not provide an export named 'y'", ["index.mjs:1", "import { y }"],
    ),
    "a file that is not there": (
        {"src/index.mjs": "import './x.mjs';"}, "Error", "Cannot find module", ["src/x.mjs", "src/index.mjs"],
    ),
    "a required file that is not there": ({"src/index.js": "void 0;\nrequire('./x');"}, "Error", "Cannot find module './x'", ["(src/index.js:2:1)"]),
    "a package that is not there": ({"index.mjs": "import x from 'left-pad';"}, "Error", "Cannot find package 'left-pad'", []),
    "require in an ES module": ({"index.mjs": "void 0;\nconst x = require('fs');"}, "ReferenceError", "require is not defined in ES module scope", ["index.mjs:2:11"]),
    "top-level await that rejects": (
        {"index.mjs": "import './x.mjs';", "x.mjs": "\nawait Promise.reject(new RangeError('no'));"},
        "RangeError", "no", ["x.mjs:2:22"],
    ),
    "top-level await that never settles": (
        {"index.mjs": "await new Promise(() => {});\nexport const handler = () => 1;"},
        "no_result", "top-level await", [],
    ),
    "a cycle that is too early": (
        {"a.mjs": "import { b } from './b.mjs';\nexport const a = 1;\nexport const handler = () => b;", "b.mjs": "import { a } from './a.mjs';\nexport const b = a + 1;"},
        "ReferenceError", "Cannot access 'a' before initialization", ["b.mjs:2:18"],
    ),
    "a handler that is not there": ({"index.mjs": "export const other = () => 1;"}, "entry_point_missing", "other", []),
    "a package.json that is no JSON": ({"index.js": HELLO, "package.json": "{"}, "Error", "package.json", []),
    "an error of Python in a helper": (
        {"app/main.py": "from app.lib import f\ndef handler(p, z):\n    return f()", "app/lib.py": "def f():\n    raise KeyError('gone')"},
        "KeyError", "gone", ['File "app/main.py", line 3, in handler', 'File "app/lib.py", line 2, in f', "raise KeyError"],
    ),
    "a syntax error of Python in a helper": (
        {"main.py": "import lib.x", "lib/x.py": "\ndef f(:\n"}, "syntax_error", "invalid syntax", ['File "lib/x.py", line 2', "def f(:"],
    ),
    "a relative import at the top of the folder": (
        {"main.py": "pass\nfrom . import x", "x.py": ""}, "ImportError", 'main.py is in no package, so write "import x"', ['File "main.py", line 2'],
    ),
    "a module of Python that is not there": ({"main.py": "import lib.y", "lib/x.py": ""}, "ModuleNotFoundError", "lib.y", ["line 1"]),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILS)
def test_errors_name_the_file_in_the_folder(host: Host, what: str) -> None:
    files, kind, message, places = FAILS[what]
    outcome = run(host, files, next(iter(files)))
    assert outcome.error is not None, outcome
    assert outcome.error.type == kind, outcome
    assert message in outcome.error.message
    assert [place for place in places if place not in (outcome.error.stack or "")] == [], outcome
    assert "/workspace/" not in (outcome.error.stack or "")
