"""`zmesh functions audit`: known vulnerabilities of the packages of a function, as registries tell them."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import connected, find_function
from cli.output import output_option, print_json, print_table, progress, style

SECONDS = 20.0
AT_ONCE = 8
LARGEST_ANSWER = 16 * 1024 * 1024
PYTHON, NPM = "https://pypi.org/simple", "https://registry.npmjs.org/"
COLOURS = {"critical": "red", "high": "red", "moderate": "yellow", "medium": "yellow"}
Package = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """What is known of a package in the version that a function has."""

    package: str
    version: str
    id: str
    severity: str
    summary: str
    affected: str
    fixed_in: str
    url: str


class NotAudited(Exception):
    """A registry does not tell; the message says why."""


@click.command("audit")
@click.argument("name", shell_complete=names_of("functions"))
@click.option("--version", type=click.IntRange(1), help="Packages of this version.")
@output_option
@connected
def audit(client: Client, name: str, version: int | None, output: str) -> None:
    """Report known vulnerabilities of the packages of a function. Exits with 1 if there are any, or if some packages
    could not be checked.

    Asks the public registries, from here; ZMESH_PYTHON_INDEX_URL and ZMESH_NPM_REGISTRY name others. Packages from
    registries of the project are not asked about.
    """
    function = find_function(client, name)
    build_id = function["build_id"]
    if version is not None:
        build_id = client.call("GET", f"/functions/{function['id']}/versions/{version}").body["build_id"]
    none: dict[str, Any] = {"runtime": "python", "packages": []}
    build = client.call("GET", f"/builds/{build_id}").body if build_id else none
    private = [one["packages"] for one in client.items("/registries") if one["runtime"] == build["runtime"]]
    asked = [one for one in build["packages"] if not any(is_of(one["name"], packages) for packages in private)]
    skipped = [f"{one['name']} comes from a registry of the project" for one in build["packages"] if one not in asked]
    found, failures = check(build["runtime"], asked)
    failures += skipped
    if output == "json":
        checked = len(build["packages"]) - len(failures)
        print_json({"checked": checked, "vulnerabilities": [asdict(one) for one in found], "not_checked": failures})
    else:
        _show(function["slug"], len(build["packages"]), found, failures)
    if found or failures:
        raise SystemExit(1)


def is_of(name: str, packages: str) -> bool:
    """Whether a registry of the project has a package of this name."""
    if packages.startswith("@"):
        return name.startswith(f"{packages}/")
    name = re.sub(r"[-_.]+", "-", name).lower()
    return name.startswith(packages[:-1]) if packages.endswith("*") else packages in ("", name)


def check(runtime: str, packages: list[Package]) -> tuple[list[Vulnerability], list[str]]:
    """What is known, and which packages could not be checked, and why."""
    if not packages:
        return [], []
    if runtime == "node":
        try:
            return _audit_npm(packages), []
        except NotAudited as error:
            return [], [f"{one['name']} {one['version']}: {error}" for one in packages]
    found: list[Vulnerability] = []
    failures: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for package, (vulnerabilities, failure) in zip(packages, threads.map(_audit_python, packages), strict=True):
            found += vulnerabilities
            failures += [f"{package['name']} {package['version']}: {failure}"] if failure else []
    return found, failures


def _audit_python(package: Package) -> tuple[list[Vulnerability], str | None]:
    base = os.environ.get("ZMESH_PYTHON_INDEX_URL") or PYTHON
    address = (
        f"{base.rstrip('/').removesuffix('/simple')}/pypi/{quote(package['name'])}/{quote(package['version'])}/json"
    )
    try:
        listed = _asked(address).get("vulnerabilities")
    except NotAudited as error:
        return [], str(error)
    if not isinstance(listed, list):
        return [], "the registry does not tell of vulnerabilities"
    known = [one for one in listed if isinstance(one, dict) and not one.get("withdrawn")]
    return [_of_python(package, one) for one in known], None


def _of_python(package: Package, one: Mapping[str, Any]) -> Vulnerability:
    ids = [str(one.get("id", "")), *map(str, one.get("aliases") or [])]
    return Vulnerability(
        package=package["name"],
        version=package["version"],
        id=next((id for id in ids if id.startswith("CVE-")), ids[0]),
        severity="",
        summary=str(one.get("summary") or one.get("details") or "").partition("\n")[0][:200],
        affected="",
        fixed_in=", ".join(map(str, one.get("fixed_in") or [])),
        url=str(one.get("link") or ""),
    )


def _audit_npm(packages: list[Package]) -> list[Vulnerability]:
    base = os.environ.get("ZMESH_NPM_REGISTRY") or NPM
    versions: dict[str, list[str]] = {}
    for package in packages:
        versions.setdefault(package["name"], []).append(package["version"])
    answer = _asked(f"{base.rstrip('/')}/-/npm/v1/security/advisories/bulk", versions)
    return [
        Vulnerability(
            package=name,
            version=", ".join(sorted(set(versions.get(name, [])))),
            id=str(one.get("url", "")).rpartition("/")[2] or str(one.get("id", "")),
            severity=str(one.get("severity", "")),
            summary=str(one.get("title", ""))[:200],
            affected=str(one.get("vulnerable_versions", "")),
            fixed_in="",
            url=str(one.get("url", "")),
        )
        for name, advisories in sorted(answer.items())
        for one in (advisories if isinstance(advisories, list) else [])
        if isinstance(one, dict)
    ]


def _asked(address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object that a registry answers. Raises NotAudited."""
    host = urlsplit(address).hostname
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Accept": "application/json", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found = json.loads(answer.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            raise NotAudited(f"{host} does not have it, or does not support audits") from error
        raise NotAudited(f"{host} answered {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotAudited(f"{host} cannot be reached ({getattr(error, 'reason', error)})") from error
    except ValueError as error:
        raise NotAudited(f"{host} did not return JSON") from error
    if not isinstance(found, dict):
        raise NotAudited(f"{host} did not return an audit")
    return found


def _show(slug: str, packages: int, found: list[Vulnerability], failures: list[str]) -> None:
    rows = [
        [
            f"{one.package} {one.version}",
            one.id,
            style(one.severity, fg=COLOURS.get(one.severity)),
            one.affected or (one.fixed_in and f"fixed in {one.fixed_in}"),
            one.summary,
        ]
        for one in found
    ]
    if rows:
        print_table(("package", "vulnerability", "severity", "versions", "summary"), rows, "")
    for failure in failures:
        progress(f"{style('!', fg='yellow')} not checked: {failure}")
    checked = packages - len(failures)
    click.echo(f"{slug}: {len(found)} known vulnerabilities in {checked} of {packages} packages.")
    if found:
        progress("Allow fixed versions in the manifest, and deploy with --fresh-packages.")
