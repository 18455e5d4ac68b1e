"""Where a build finds packages: the registries of its project, and that of the installation for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from listener.build_hosts import Host, hosts_of
from listener.settings import Settings
from sql.registries import SealedRegistry
from support.locks import host_of
from support.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry, and the packages that come from it alone; with none, all that no other has."""

    packages: str
    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Registries:
    """Of one build. The first has what no other has."""

    all: tuple[Registry, ...]

    def payload(self) -> list[dict[str, str]]:
        """As sdk/python/install_packages.py reads them."""
        return [{"packages": one.packages, "url": one.url, "token": one.token} for one in self.all]

    def hosts(self) -> set[str]:
        """What locks may name."""
        return {host_of(one.url) for one in self.all}

    def connected_to(self) -> list[Host]:
        """Where they and their files are."""
        return [host for one in self.all for host in hosts_of(one.url)]

    def secrets(self) -> list[str]:
        """What must be in no log: tokens and passwords, and the addresses."""
        found: list[str] = []
        for one in self.all:
            parts = urlsplit(one.url)
            found += [one.token, quote(one.token, safe=""), one.url, parts.netloc, parts.netloc.rpartition("@")[2]]
            found += [parts.password or "", unquote(parts.password or "")]
        return [secret for secret in found if secret]


def registries_of(settings: Settings, runtime: str, sealed: Sequence[SealedRegistry], sealer: Sealer) -> Registries:
    """The registries of a build. The token of the installation goes only to its own registry. Raises SealingError."""
    own = [
        Registry(one.packages, one.url, "" if one.sealed_token is None else sealer.open(one.sealed_token, one.purpose))
        for one in sealed
    ]
    others = tuple(one for one in own if one.packages)
    default = next((one for one in own if not one.packages), _of_installation(settings, runtime))
    return Registries((default, *others))


def _of_installation(settings: Settings, runtime: str) -> Registry:
    if runtime == "python":
        return Registry("", settings.python_index_url, "")
    return Registry("", settings.npm_registry, settings.npm_token or "")
