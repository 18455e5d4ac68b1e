"""What a run costs by how its code is written: one file of CommonJS, ES modules, TypeScript, and folders of these.

python -m bench.module_forms [--seconds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from bench.sandbox_starts import Act, Side
from sandbox import RunRequest, Sandbox

BLOCKS = 4  # the forms take turns, so that a slow moment of the machine hits all of them
HELPER = "export const double = (n) => 2 * n;"
DECORATOR = "const same = (method: any, context: any) => method;\n"
JSX = "/** @jsxRuntime classic @jsx h */ const h = (...all: any[]) => all;\n"
ENUM = "enum Factor { Two = 2 }\n"


def of_file(language: str, code: str) -> RunRequest:
    return RunRequest(language, code, "handler", "noop", "{}")  # type: ignore[arg-type]


def of_folder(language: str, entry_file: str, code: str, **files: str) -> RunRequest:
    content = json.dumps({name.replace("_", "."): text for name, text in files.items()}).encode()
    return replace(of_file(language, code), entry_file=entry_file, files=content)


FORMS = {
    "JavaScript, one file, CommonJS": of_file("javascript", "exports.handler = () => 1"),
    "JavaScript, one file, ES module": of_file("javascript", "export const handler = () => 1"),
    "TypeScript, one file, stripped": of_file("typescript", "exports.handler = (): number => 1"),
    "TypeScript, one file, transformed": of_file("typescript", f"{ENUM}exports.handler = (): number => Factor.Two"),
    "JavaScript, folder, CommonJS": of_folder(
        "javascript", "index.js", "exports.handler = require('./a').double", a_js="exports.double = (n) => 2"
    ),
    "JavaScript, folder, ES modules": of_folder(
        "javascript",
        "index.mjs",
        "import { double } from './a.mjs'; export const handler = () => double(1)",
        a_mjs=HELPER,
    ),
    "TypeScript, folder, stripped": of_folder(
        "typescript",
        "index.ts",
        "import { double } from './a'; export const handler = (): number => double(1)",
        a_ts=HELPER,
    ),
    "TypeScript, folder, transformed": of_folder(
        "typescript",
        "index.ts",
        f"{ENUM}import {{ f }} from './a'; export const handler = () => f",
        a_ts=f"{ENUM}export const f = 1",
    ),
    "TypeScript, one file, decorators": of_file(
        "typescript", f"{DECORATOR}class A {{ @same f() {{ return 1; }} }}\nexports.handler = () => new A().f()"
    ),
    "TypeScript, folder, JSX": of_folder(
        "typescript",
        "index.tsx",
        f"{JSX}import {{ b }} from './a'; export const handler = () => <a>{{b}}</a>",
        a_tsx=f"{JSX}export const b = <b>1</b>",
    ),
    "Python, one file": of_file("python", "def handler(payload, zmesh):\n    return 1"),
    "Python, folder": of_folder(
        "python", "main.py", "import a\ndef handler(payload, zmesh):\n    return a.x", a_py="x = 1"
    ),
}


def run_in(sandbox: Sandbox, request: RunRequest) -> Act:
    async def act() -> None:
        outcome = await sandbox.run(request)
        if outcome.status != "success":
            raise RuntimeError(str(outcome))

    return act


async def measure(seconds: float) -> list[Side]:
    """All forms, in turns, one run at a time."""
    sandbox = Sandbox(slots=2)
    await sandbox.start()
    sides = [Side(request.language, name, 1, run_in(sandbox, request)) for name, request in FORMS.items()]
    for side in sides:
        await side.measure(seconds / BLOCKS / 4)
        side.latencies, side.seconds = [], 0.0  # that was to warm up
    for _ in range(BLOCKS):
        for side in sides:
            await side.measure(seconds / BLOCKS)
    await sandbox.close()
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    sides = asyncio.run(measure(parser.parse_args().seconds))
    table = Table("", "p50 ms", "p99 ms", "runs")
    for side in sides:
        ordered = sorted(side.latencies)
        table.add_row(
            side.kind,
            f"{statistics.median(ordered):.2f}",
            f"{ordered[int(len(ordered) * 0.99)]:.2f}",
            str(len(ordered)),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
