"""Folders as functions, run for real: files are there, shared folders too, and the platform is not shadowed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Database
from tests.end_to_end.test_statements import COUNTED
from tests.platform import Parts, Platform

PNG = {"base64": base64.b64encode(b"\x89PNG\x00\xff").decode()}
DATA = {"data/a.json": '{"n": 7}', "t.html": "<p>\r\n", "logo.png": PNG, "empty": "", "__proto__": "own"}
PYTHON = {
    "main.py": """
import json, os
from helpers import double
from lib.deep import NAME

def handler(payload, zmesh):
    with open("t.html", newline="") as page, open("logo.png", "rb") as logo:
        found = [page.read(), list(logo.read())]
    n = double(json.load(open("data/a.json"))["n"])
    return [n, NAME, *found, os.path.getsize("empty"), open("__proto__").read()]
""",
    "helpers.py": "def double(n):\n    return 2 * n\n",
    "lib/deep.py": "NAME = 'deep'\n",
    **DATA,
}
JAVASCRIPT = {
    "index.js": """
const fs = require("node:fs");
const { double } = require("./helpers");
exports.handler = () => [
  double(require("./data/a.json").n), require("./lib/deep.js").NAME, fs.readFileSync("t.html", "utf8"),
  [...fs.readFileSync("logo.png")], fs.statSync("empty").size, fs.readFileSync("__proto__", "utf8"),
];
""",
    "helpers.js": "exports.double = (n) => 2 * n;",
    "lib/deep.js": "exports.NAME = 'deep';",
    **DATA,
}
LANGUAGES = {"python": ("main.py", PYTHON), "javascript": ("index.js", JAVASCRIPT)}


@pytest.fixture
def platform(running_platform: Platform) -> Platform:
    return running_platform


def deploy(platform: Platform, name: str, language: str, files: dict[str, Any], entry_file: str) -> None:
    body = {"name": name, "language": language, "files": files, "entry_file": entry_file}
    answer = platform.request("POST", "/functions", json=body)
    if answer.status_code == 409:
        answer = platform.request("PATCH", f"/functions/{name}", json=body)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_finds_every_file_of_its_version(platform: Platform, language: str) -> None:
    entry_file, files = LANGUAGES[language]
    deploy(platform, f"files-{language}", language, files, entry_file)
    expected = [14, "deep", "<p>\r\n", [137, 80, 78, 71, 0, 255], 0, "own"]
    assert platform.result(f"files-{language}") == expected
    changed = {**files, "data/a.json": '{"n": 8}'}
    platform.request("PATCH", f"/functions/files-{language}", json={"files": changed})
    assert platform.result(f"files-{language}")[0] == 16
    platform.request("POST", f"/functions/files-{language}/versions/1/rollback")
    assert platform.result(f"files-{language}") == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_named_like_the_platforms_own_do_not_shadow_them(platform: Platform, language: str) -> None:
    entry_file, _ = LANGUAGES[language]
    bad = {"python": "raise SystemExit(3)\n", "javascript": "throw new Error('shadowed');\n"}[language]
    code = {
        "python": "def handler(payload, zmesh):\n    return zmesh.db.query_one('select 1 as one')['one']\n",
        "javascript": "exports.handler = async (p, zmesh) => (await zmesh.db.queryOne('select 1 as one')).one;",
    }[language]
    names = {
        "python": (
            "zmesh.py",
            "zmesh_runtime/__init__.py",
            "psycopg.py",
            "psycopg_c/__init__.py",
            "json.py",
            "socket.py",
        ),
        "javascript": ("zmesh.js", "pg/index.js", "node_modules/pg/index.js", "lib/database.js", "runtime.js"),
    }[language]
    deploy(platform, f"shadow-{language}", language, {entry_file: code, **dict.fromkeys(names, bad)}, entry_file)
    assert platform.result(f"shadow-{language}") == 1


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (
            "main.py",
            "from _shared.words import HELLO\n\ndef handler(p, z):\n    return [HELLO, open('own.txt').read()]\n",
        ),
        (
            "index.js",
            "const { HELLO } = require('../_shared/words.js');\n"
            "exports.handler = () => [HELLO, require('node:fs').readFileSync('own.txt', 'utf8')];\n",
        ),
    ],
)
def test_a_shared_folder_is_there_beside_the_functions_own(
    platform: Platform, tmp_path: Path, entry: str, code: str
) -> None:
    name = f"shares-{entry.partition('.')[2]}"
    folder = tmp_path / name
    shared = tmp_path / "_shared"
    folder.mkdir()
    shared.mkdir()
    (folder / entry).write_text(code)
    (folder / "own.txt").write_text("own")
    (shared / "words.py").write_text("HELLO = 'hello'\n")
    (shared / "words.js").write_text("exports.HELLO = 'hello';\n")
    [deployed] = json.loads(platform.zmesh("functions", "deploy", str(tmp_path)))
    assert deployed["action"] == "created"
    assert platform.result(name) == ["hello", "own"]


def test_a_folder_costs_one_statement_more_at_its_first_call_only(database: Database, own_parts: Parts) -> None:
    database.rows("create extension pg_stat_statements")
    platform = own_parts.platform
    own_parts.start_listener()
    files = {"main.py": "from h import N\n\ndef handler(payload, zmesh):\n    return N\n", "h.py": "N = 1\n"}
    deploy(platform, "folder", "python", files, "main.py")
    platform.deploy("warms-up", "def handler(payload, zmesh):\n    return 0\n")
    for _ in range(10):
        platform.result("warms-up")
    database.rows("select pg_stat_statements_reset()")
    for _ in range(20):
        assert platform.result("folder") == 1
    calls = {row["statement"]: row["calls"] for row in database.rows(COUNTED)}
    assert [count for statement, count in calls.items() if "files_of" in statement] == [1]
    assert len([statement for statement, count in calls.items() if count >= 10]) == 3, calls


TYPESCRIPT = {
    "index.tsx": """
import { page } from "./lib/page";
enum Kind { Small = 1 }
const logged = (method: any, { name }: ClassMethodDecoratorContext) => function (this: any, ...values: any[]) {
  return [name, method.apply(this, values)];
};
class Shop {
  constructor(private readonly start: number) {}
  @logged
  total(n: number) { return this.start + n + Kind.Small; }
}
export const handler = ({ n = 1 }: { n?: number }) => [new Shop(1).total(n), page(n)];
""",
    "lib/page.jsx": """
export function page(n) {
  if (n > 5) throw new RangeError("too many");
  if (n > 3) return new Error("read").stack.split("\\n")[1].trim();
  return <b title="x">{n}</b>;
}
""",
    "jsx-runtime.js": "exports.jsx = (tag, { children, ...others }) => ({ tag, ...others, children });",
    "tsconfig.json": '{ "compilerOptions": { "jsx": "react-jsx", "jsxImportSource": "#own", }, } // as tsc has it',
    "package.json": '{"imports": {"#own/jsx-runtime": "./jsx-runtime.js"}}',
}


def test_typescript_with_decorators_and_jsx_runs_and_its_stacks_name_the_authors_lines(platform: Platform) -> None:
    deploy(platform, "jsx", "typescript", TYPESCRIPT, "index.tsx")
    assert platform.result("jsx") == [["total", 3], {"tag": "b", "title": "x", "children": 1}]
    assert platform.result("jsx", {"n": 4})[1] == "at page (lib/page.jsx:4:21)"
    stack = platform.invoke("jsx", {"n": 6}).json()["error"]["stack"]
    assert "at page (lib/page.jsx:3:20)\n    at Module.handler (index.tsx:12:" in stack


TRACEBACKS = {
    "main.py": """
import traceback
from lib.deep import divide

def handler(payload, zmesh):
    try:
        divide(0)
    except ZeroDivisionError:
        shown = traceback.format_exc()
    return divide(0) if payload.get("raise") else shown
""",
    "lib/deep.py": "def divide(n):\n    return 1 / n\n",
}


def test_tracebacks_that_python_code_reads_name_files_by_their_paths_in_the_folder(platform: Platform) -> None:
    deploy(platform, "tracebacks", "python", TRACEBACKS, "main.py")
    lines = [
        '  File "main.py", line 7, in handler\n    divide(0)\n',
        '  File "lib/deep.py", line 2, in divide\n    return 1 / n\n',
    ]
    assert [line in platform.result("tracebacks") for line in lines] == [True, True]
    assert lines[1] in platform.invoke("tracebacks", {"raise": True}).json()["error"]["stack"]
