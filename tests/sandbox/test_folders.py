"""A function that is a folder: its files are there before its code is loaded, and its modules find each other."""

from __future__ import annotations

import hashlib
import json
import os
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from sandbox import RunOutcome
from tests.sandbox.hosts import Host, files_as_json

Files = Mapping[str, str | bytes]
BINARY = bytes(range(256))


def run(host: Host, language: str, entry_file: str, code: str, files: Files | bytes, **options: Any) -> RunOutcome:
    return host.run(language, code, whole=True, entry_file=entry_file, files=dedented(files), **options)


def value(host: Host, language: str, entry_file: str, code: str, files: Files | bytes, **options: Any) -> Any:
    outcome = run(host, language, entry_file, code, files, **options)
    assert outcome.result_json is not None, outcome
    return json.loads(outcome.result_json)


def dedented(files: Files | bytes) -> Files | bytes:
    if isinstance(files, bytes):
        return files
    return {path: textwrap.dedent(text) if isinstance(text, str) else text for path, text in files.items()}


FOLDERS = {
    "python": (
        "main.py",
        """
        import hashlib, os
        import helpers
        from parts.names import NAME
        def handler(payload, zmesh):
            with open("assets/logo.bin", "rb") as file:
                logo = hashlib.sha256(file.read()).hexdigest()
            names = sorted(os.listdir("."))
            return [helpers.double(payload), NAME, open("data.json").read(), logo, names, os.path.basename(__file__)]
        """,
        {
            "helpers.py": "def double(n):\n    return 2 * n\n",
            "parts/__init__.py": "",
            "parts/names.py": "from .more import NAME",
            "parts/more.py": "NAME = 'more'",
        },
    ),
    "javascript": (
        "index.js",
        """
        const { createHash } = require('node:crypto');
        const fs = require('node:fs');
        const { double } = require('./helpers');
        const { NAME } = require('./parts/names.js');
        exports.handler = (payload) => [
          double(payload), NAME, JSON.stringify(require('./data.json')),
          createHash('sha256').update(fs.readFileSync('assets/logo.bin')).digest('hex'),
          fs.readdirSync('.').sort(), require('node:path').basename(__filename),
        ];
        """,
        {
            "helpers.js": "exports.double = (n) => 2 * n;",
            "parts/names.js": "exports.NAME = require('./more').NAME;",
            "parts/more.js": "exports.NAME = 'more';",
        },
    ),
}


def test_a_folder_has_its_files_and_its_modules(kind: str, host: Host, language: str) -> None:
    entry_file, code, modules = FOLDERS[language]
    files = {**modules, "data.json": '{"a":1}', "assets/logo.bin": BINARY}
    found = value(host, language, entry_file, code, files, payload="21")
    names = sorted([".shm", "assets", "data.json", entry_file, "parts", "tmp", *(n for n in modules if "/" not in n)])
    assert found == [42, "more", '{"a":1}', hashlib.sha256(BINARY).hexdigest(), names, entry_file]


HERE = pytest.mark.parametrize("kind", ["root" if os.geteuid() == 0 else "user_namespace"])
IN_TWO = pytest.mark.parametrize("language", ["javascript", "python"])
ENTRY_FILES = {"javascript": "index.js", "python": "main.py"}
ONE = {"javascript": "exports.handler = () => 1;", "python": "def handler(payload, zmesh): return 1"}


def run_one(host: Host, language: str, files: Files | bytes) -> RunOutcome:
    return host.run(language, ONE[language], whole=True, entry_file=ENTRY_FILES[language], files=files)


INVALID: dict[str, tuple[Files | bytes, str]] = {
    "a path out of the folder": ({"../a.txt": "x"}, '"../a.txt" is not the path of a file inside'),
    "a path out of a folder below": ({"a/../../b.txt": "x"}, "is not the path of a file inside"),
    "an absolute path": ({"/tmp/a.txt": "x"}, '"/tmp/a.txt" is not the path'),
    "an empty path": ({"": "x"}, '"" is not the path'),
    "the folder itself": ({".": "x"}, '"." is not the path'),
    "a path with an empty part": ({"a//b": "x"}, '"a//b" is not the path'),
    "a path with a NUL": ({"a\0b": "x"}, "is not the path"),
    "a name that is too long": ({"n" * 256: "x"}, "name too long"),
    "a file that is also a folder": ({"a": "x", "a/b": "x"}, 'the function\'s file "a/b" cannot be written'),
    "a folder of the run": ({"tmp": "x"}, 'the function\'s file "tmp" cannot be written'),
    "no base64": (b'{"a": {"base64": "not base64!"}}', 'the content of the file "a" cannot be decoded'),
    "no padding": (b'{"a": {"base64": "QQ"}}', 'the content of the file "a" cannot be decoded'),
    "a number": (b'{"a": 1}', 'the content of the file "a" is neither text nor {"base64": '),
    "nothing": (b'{"a": null}', 'the content of the file "a" is neither text nor'),
    "half a character": (b'{"a": "\\ud800"}', 'the content of the file "a"'),
    "a list": (b"[1]", "files are not a JSON object"),
    "no JSON": (b"{", "files are not JSON"),
}


@HERE
@IN_TWO
@pytest.mark.parametrize("what", INVALID)
def test_files_that_cannot_be_written_are_an_error_that_names_them(host: Host, language: str, what: str) -> None:
    files, message = INVALID[what]
    outcome = run_one(host, language, files)
    assert outcome.error is not None, outcome
    assert outcome.error.type == "invalid_files"
    assert message.lower() in outcome.error.message.lower().replace("'", '"').replace('function"s', "function's")


@HERE
@IN_TWO
def test_base64_may_come_in_lines_as_postgresql_writes_it(host: Host, language: str) -> None:
    outcome = run_one(host, language, b'{"a.bin": {"base64": "QUJD\\nREVG\\n"}, "__proto__": "x"}')
    assert outcome.result_json == "1", outcome


READ_ALL = {
    "javascript": """
        const fs = require('node:fs');
        exports.handler = () => {
          const names = fs.readdirSync('data');
          for (let n = 0; n < 6; n++) fs.writeFileSync(`own-${n}`, Buffer.alloc(9e6));
          return [names.length, names.reduce((sum, name) => sum + fs.statSync(`data/${name}`).size, 0)];
        };
    """,
    "python": """
        import os
        def handler(payload, zmesh):
            names = os.listdir("data")
            for n in range(6):
                with open(f"own-{n}", "wb") as file:
                    file.write(bytes(9_000_000))
            return [len(names), sum(os.path.getsize(f"data/{name}") for name in names)]
    """,
}


@HERE
@IN_TWO
def test_a_folder_of_8_mib_leaves_the_workspace_its_room_and_the_event_loop_free(host: Host, language: str) -> None:
    files = {f"data/{n}.bin": bytes([n % 256]) * 8_388 for n in range(999)}
    content = files_as_json(files)
    host.state()  # forgets how long the loop was held by what came before
    found = value(host, language, ENTRY_FILES[language], READ_ALL[language], content)
    assert found == [999, 999 * 8_388]
    assert host.state()["stall_seconds"] < 0.1


MODULES = 999
MANY: dict[str, tuple[str, str, str]] = {
    "index.mjs": ("import {{ n as n{0} }} from './m{0}.mjs'; sum += n{0};", "m{0}.mjs", "export const n = 1;"),
    "index.ts": ("import {{ n as n{0} }} from './m{0}'; sum += n{0};", "m{0}.ts", "export const n: number = 1;"),
    "index.js": ("sum += require('./m{0}').n;", "m{0}.js", "exports.n = 1;"),
    "main.py": ("import m{0}; sum += m{0}.n", "m{0}.py", "n = 1"),
}  # fmt: skip
BEFORE_AND_AFTER = {
    "index.mjs": ("let sum = 0;", "export const handler = () => sum;"),
    "index.ts": ("let sum = 0;", "export const handler = () => sum;"),
    "index.js": ("let sum = 0;", "exports.handler = () => sum;"),
    "main.py": ("sum = 0", "def handler(payload, zmesh): return sum"),
}


@HERE
@pytest.mark.parametrize("entry_file", MANY)
def test_a_folder_may_have_a_thousand_modules(host: Host, entry_file: str) -> None:
    line, name, text = MANY[entry_file]
    before, after = BEFORE_AND_AFTER[entry_file]
    code = "\n".join([before, *(line.format(n) for n in range(MODULES)), after])
    files = {name.format(n): text.format(n) for n in range(MODULES)}
    language = {"main.py": "python", "index.ts": "typescript"}.get(entry_file, "javascript")
    assert value(host, language, entry_file, code, files) == MODULES


@HERE
def test_a_module_that_replaces_what_the_runtime_uses_hurts_only_itself(host: Host) -> None:
    files = {
        "hostile.js": """
            const fs = require('node:fs');
            process.exit = process.reallyExit = () => { throw new Error('no end'); };
            fs.writeSync = fs.readFileSync = fs.statSync = () => { throw new Error('no files'); };
            require('node:module').Module._load = () => { throw new Error('no modules'); };
            JSON.parse = () => 5;
            Object.prototype.format = 'builtin';
        """,
        "later.ts": "export enum A { X = 'x' }",
    }
    code = "require('./hostile.js'); exports.handler = async () => (await import('./later')).A.X;"
    outcome = run(host, "javascript", "index.js", code, files)
    assert outcome.result_json == '"x"', outcome
