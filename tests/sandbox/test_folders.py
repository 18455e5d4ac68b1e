"""A function that is a folder: its files are there before its code is loaded, and its modules find each other."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Mapping
from typing import Any

from sandbox import RunOutcome
from tests.sandbox.hosts import Host

Files = Mapping[str, str | bytes]
BINARY = bytes(range(256))


def run(host: Host, language: str, entry_file: str, code: str, files: Files, **options: Any) -> RunOutcome:
    return host.run(language, code, whole=True, entry_file=entry_file, files=dedented(files), **options)


def value(host: Host, language: str, entry_file: str, code: str, files: Files, **options: Any) -> Any:
    outcome = run(host, language, entry_file, code, files, **options)
    assert outcome.result_json is not None, outcome
    return json.loads(outcome.result_json)


def dedented(files: Files) -> Files:
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
