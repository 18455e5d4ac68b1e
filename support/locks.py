"""Locks beside manifests: exact versions with hashes, as uv, npm or a build of the platform wrote them.

A lock that does not fit its manifest is refused. Addresses in locks are never used: packages come from the registries
of the platform. Which registries a lock names is kept, so that builds refuse a lock of another registry.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

UV_LOCK, REQUIREMENTS_LOCK, NPM_LOCK = "uv.lock", "requirements.lock", "package-lock.json"
LOCKS = (UV_LOCK, REQUIREMENTS_LOCK, NPM_LOCK)
PUBLIC_REGISTRIES = frozenset({"pypi.org", "registry.npmjs.org", "registry.yarnpkg.com"})
MOST_CONDITIONS = 32  # ways by which a package of uv.lock is needed under different conditions
RENEW = "zmesh functions deploy FOLDER --fresh-packages --write-lock"

_MADE_FOR = "# requirements: sha256:"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*==\s*([^\s;]+)")
NPM_NAME = re.compile(r"(?:@[a-z0-9_.~-]+/)?[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")
NPM_RANGE = re.compile(r"[\w.^~<>=|*+ -]{0,200}")
NO_ADDRESSES = "addresses, paths and Git repositories are not supported"
_NPM_PLACE = re.compile(rf"node_modules/{NPM_NAME.pattern}(?:/node_modules/{NPM_NAME.pattern})*")
_NPM_LOCKED = (
    *("name", "version", "integrity", "dependencies", "optionalDependencies", "peerDependencies"),
    *("peerDependenciesMeta", "optional", "devOptional", "peer", "engines", "os", "cpu", "libc", "inBundle"),
    "hasInstallScript",
)
_NPM_SECTIONS = ("dependencies", "optionalDependencies")


class ManifestError(ValueError):
    """A manifest or lock cannot be read or asks for what is not supported; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What an installer reads in place of the manifest, and the hosts of other registries than the public ones."""

    text: str
    registries: frozenset[str]


# Python


def requirements_lock(lock: str, requirements: Sequence[str]) -> str:
    """The file that keeps what a build of these requirements locked."""
    head = f"# Written by zmesh functions deploy --write-lock.\n{_MADE_FOR}{_hash(requirements)}\n"
    return head + lock


def check_requirements_lock(text: str, pins: Sequence[str], source: str, requirements: Sequence[str]) -> None:
    """Raises ManifestError where requirements.lock does not fit the requirements in its manifest."""
    made_for = re.search(rf"^{re.escape(_MADE_FOR)}([0-9a-f]{{64}})\s*$", text, re.MULTILINE)
    if made_for and made_for[1] != _hash(requirements):
        raise _stale(REQUIREMENTS_LOCK, source, "it was written for other requirements", RENEW)
    pinned = {canonicalize_name(found[1]): found[2] for pin in pins if (found := _PIN.match(pin))}
    for pin in pins:
        if not _PIN.match(pin) or "--hash" not in pin:
            raise ManifestError(f'{REQUIREMENTS_LOCK}: "{pin[:100]}" is not a pinned version with a --hash')
    for wanted in map(_requirement, requirements):
        version = pinned.get(canonicalize_name(wanted.name))
        if version is None and wanted.marker is None:
            raise _stale(REQUIREMENTS_LOCK, source, f"it has no {wanted.name}", RENEW)
        if version is not None and not is_allowed(version, wanted):
            why = f"{wanted.name} {version[:100]} is not {str(wanted.specifier)[:100] or 'a version'}"
            raise _stale(REQUIREMENTS_LOCK, source, why, RENEW)


def is_allowed(version: str, wanted: Requirement) -> bool:
    """Whether the requirement allows this version."""
    try:
        return wanted.specifier.contains(version, prereleases=True)
    except ValueError:  # a number with too many digits
        return False


def _hash(requirements: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text.partition(" --hash")[0])
    except (ValueError, RecursionError) as error:  # InvalidRequirement, a number with too many digits, many parentheses
        raise ManifestError(f'"{text[:100]}" is not a requirement: {str(error).splitlines()[0]}') from None


def _stale(lock: str, manifest: str, why: str, command: str) -> ManifestError:
    return ManifestError(f"{lock} does not fit {manifest}: {why}. Renew it: {command}")


def uv_lock(text: str, requirements: Sequence[str]) -> Lock:
    """What uv.lock says of a pyproject.toml with these dependencies, as pinned requirements. Raises ManifestError."""
    try:
        packages = tomllib.loads(text).get("package", [])
        return _UvLock(packages).lock(requirements)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ManifestError(f"{UV_LOCK} is not valid TOML: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{UV_LOCK} is malformed: write it anew with uv lock") from None


class _UvLock:
    """The packages of a uv.lock, and which of them a project needs under which conditions."""

    def __init__(self, packages: list[dict[str, Any]]) -> None:
        self._by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for package in packages:
            self._by_name[package["name"]].append(package)
        roots = [one for one in packages if {one["source"].get(key) for key in ("virtual", "editable")} & {"."}]
        if len(roots) != 1:
            raise ManifestError(f"{UV_LOCK} has no project of this folder: write it with uv lock")
        self._root = roots[0]

    def lock(self, requirements: Sequence[str]) -> Lock:
        self._check_fits(requirements)
        lines, registries = [], set()
        for package, markers in self._needed():
            if host := _host_of_source(package):
                registries.add(host)
            lines.append(_pin(package, markers))
        return Lock("\n".join(sorted(lines)) + "\n", frozenset(registries))

    def _check_fits(self, requirements: Sequence[str]) -> None:
        listed = self._root.get("metadata", {}).get("requires-dist", [])
        locked = {
            _wish(one["name"], one.get("extras", []), SpecifierSet(one.get("specifier", "")), "marker" in one)
            for one in listed
            if "extra ==" not in one.get("marker", "")
        }
        parsed = list(map(_requirement, requirements))
        wanted = {_wish(one.name, one.extras, one.specifier, one.marker is not None) for one in parsed}
        if differing := sorted({one[0] for one in locked ^ wanted}):
            why = f"they differ in {', '.join(differing[:10])}"
            raise _stale(UV_LOCK, "pyproject.toml", why, "uv lock")

    def _needed(self) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
        """Each package that the project needs, with the markers of which one must hold; none: always."""
        conditions: dict[tuple[str, str, str], set[frozenset[str]]] = defaultdict(set)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        waiting: list[tuple[dict[str, Any], str, frozenset[str]]] = [(self._root, "", frozenset())]
        while waiting:
            package, extra, markers = waiting.pop()
            for one in self._dependencies(package, extra):
                needed = self._resolve(one)
                found[needed["name"], needed["version"]] = needed
                under = markers | ({one["marker"]} if "marker" in one else set())
                for extra_of in ("", *one.get("extra", [])):
                    key = (needed["name"], needed["version"], extra_of)
                    if any(known <= under for known in conditions[key]):
                        continue
                    conditions[key] = {known for known in conditions[key] if not under <= known} | {under}
                    if len(conditions[key]) > MOST_CONDITIONS:
                        raise ManifestError(f"{UV_LOCK}: the conditions of {needed['name']} are too complex")
                    waiting.append((needed, extra_of, under))
        for (name, version), package in found.items():
            yield package, _any_of(conditions[name, version, ""])

    def _dependencies(self, package: Mapping[str, Any], extra: str) -> list[dict[str, Any]]:
        listed = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
        return list(listed)

    def _resolve(self, dependency: Mapping[str, Any]) -> dict[str, Any]:
        same = [
            one
            for one in self._by_name[dependency["name"]]
            if dependency.get("version") in (None, one.get("version"))
            and dependency.get("source") in (None, one["source"])
        ]
        if len(same) != 1:
            raise ManifestError(f"{UV_LOCK}: it does not say which {dependency['name']} is needed")
        if "registry" not in same[0]["source"]:
            hint = "publish it to a registry, or copy its files into the folder"
            raise ManifestError(f"{UV_LOCK}: {dependency['name']} does not come from a registry: {hint}")
        return same[0]


def _wish(name: str, extras: Iterable[str], specifier: SpecifierSet, conditional: bool) -> tuple[Any, ...]:
    return canonicalize_name(name), frozenset(extras), specifier, conditional


def _any_of(alternatives: set[frozenset[str]]) -> frozenset[str]:
    """The alternatives as markers, each of which suffices; none where nothing is asked."""
    if frozenset() in alternatives:
        return frozenset()
    return frozenset(" and ".join(f"({marker})" for marker in sorted(every)) for every in alternatives)


def _pin(package: Mapping[str, Any], markers: frozenset[str]) -> str:
    name, version = str(package["name"]), str(package["version"])
    hashes = sorted({str(wheel["hash"]) for wheel in package.get("wheels", [])})
    if not hashes:
        raise ManifestError(f"{UV_LOCK}: {name} {version} has no wheel, and builds install only wheels")
    marker = f" ; {' or '.join(sorted(markers))}" if markers else ""
    return " ".join([f"{name}=={version}{marker}", *(f"--hash={hash}" for hash in hashes)])


def _host_of_source(package: Mapping[str, Any]) -> str:
    registry = str(package["source"]["registry"])
    if not registry.startswith(("http://", "https://")):
        raise ManifestError(f"{UV_LOCK}: {package['name']} is from a local folder: lock it from a registry")
    return other_host(f"{UV_LOCK}: {package['name']}", registry)


# npm


def npm_lock(text: str, package: Mapping[str, Any]) -> Lock:
    """A package-lock.json that fits this package.json, without addresses. Raises ManifestError."""
    lock = read_json(NPM_LOCK, text)
    packages = lock.get("packages")
    if not isinstance(packages, dict):
        raise ManifestError(f"{NPM_LOCK} has no packages: make it anew with npm 7 or later")
    _check_fits_package(packages.get("", package), package)
    kept: dict[str, Any] = {"": package}
    registries = set()
    for place, locked in packages.items():
        if place == "" or (isinstance(locked, dict) and locked.get("dev")):
            continue
        if not isinstance(locked, dict) or not place.startswith("node_modules/") or locked.get("link"):
            raise ManifestError(f"{NPM_LOCK}: {place[:100]} is a workspace or a link, which are not supported")
        _check_locked(place, locked)
        if not locked.get("integrity") and not locked.get("inBundle"):
            raise ManifestError(f"{NPM_LOCK}: {place[:100]} has no hash, so it is not from a registry")
        if host := other_host(f"{NPM_LOCK}: {place[:100]}", str(locked.get("resolved") or "")):
            registries.add(host)
        kept[place] = {name: locked[name] for name in _NPM_LOCKED if name in locked}
    plain = {"name": "function", "lockfileVersion": 3, "requires": True, "packages": kept}
    return Lock(json.dumps(plain, sort_keys=True), frozenset(registries))


def _check_locked(place: str, locked: Mapping[str, Any]) -> None:
    """npm installs from an address wherever it finds one: as a version, as a name, or as what a package depends on."""
    name, version = locked.get("name", ""), locked.get("version", "")
    if not _NPM_PLACE.fullmatch(place) or not isinstance(name, str) or not isinstance(version, str):
        raise ManifestError(f"{NPM_LOCK}: {place[:100]} is not a package: make the lock anew with npm")
    if (name and not NPM_NAME.fullmatch(name)) or not NPM_RANGE.fullmatch(version):
        raise ManifestError(f"{NPM_LOCK}: {place[:100]} is not a version in a registry: {NO_ADDRESSES}")
    for section in ("dependencies", "optionalDependencies", "peerDependencies"):
        wanted = locked.get(section, {})
        if not isinstance(wanted, dict) or not all(isinstance(spec, str) for spec in wanted.values()):
            raise ManifestError(f"{NPM_LOCK}: {section} of {place[:100]} are not versions by name")
        for spec in wanted.values():
            if not spec.startswith("npm:") and (":" in spec or "/" in spec):
                raise ManifestError(f'{NPM_LOCK}: {place[:100]} depends on "{spec[:100]}": {NO_ADDRESSES}')


def _check_fits_package(root: Any, package: Mapping[str, Any]) -> None:
    if not isinstance(root, dict):
        raise ManifestError(f"{NPM_LOCK}: the entry of the project is not an object")
    locked, wanted = _npm_wishes(root), _npm_wishes(package)
    differing = [
        f"{name} {wanted.get(name, 'is not wanted')}, locked {locked.get(name, 'not at all')}"
        for name in sorted(locked.keys() | wanted.keys())
        if locked.get(name) != wanted.get(name)
    ]
    if differing:
        raise _stale(NPM_LOCK, "package.json", "; ".join(differing[:10]), f"npm install, or {RENEW}")


def _npm_wishes(package: Mapping[str, Any]) -> dict[str, str]:
    sections = [package.get(section) or {} for section in _NPM_SECTIONS]
    if not all(isinstance(section, dict) for section in sections):
        raise ManifestError(f"{NPM_LOCK}: the dependencies of the project are not versions by name")
    return {str(name): str(version) for section in sections for name, version in section.items()}


def npm_lock_for(package: str | None, lock: str) -> str:
    """The lock of a build as the package-lock.json of this package.json."""
    locked = json.loads(lock)
    own = {} if package is None else read_json("package.json", package)
    head = {key: own[key] for key in ("name", "version") if key in own}
    root = {key: value for key, value in locked["packages"].pop("").items() if key in _NPM_SECTIONS}
    others = {key: locked[key] for key in ("lockfileVersion", "requires") if key in locked}
    packages = {"": {**head, **root}, **locked["packages"]}
    return json.dumps({**head, **others, "packages": packages}, indent=2) + "\n"


# Both


def other_host(where: str, address: str) -> str:
    """The host of a registry that is not a public one; nothing for no address. Raises ManifestError."""
    if not address:
        return ""
    host = host_of(address)
    if not host or not address.startswith(("http://", "https://")):
        raise ManifestError(f"{where} does not come from a registry")
    return "" if host in PUBLIC_REGISTRIES else host


def host_of(address: str) -> str:
    """The host in a URL, and its port if it names one; nothing where it has none."""
    try:
        parts = urlsplit(address)
        return (f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname) or ""
    except ValueError:
        return ""


def read_json(name: str, text: str) -> dict[str, Any]:
    """The object in a JSON file. Raises ManifestError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{name} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ManifestError(f"{name} must be a JSON object")
    return found
