"""What registries of npm say of packages, and which packages nobody is asked about."""

from __future__ import annotations

import pytest

from cli.functions.auditing import check, is_of
from tests.end_to_end.registry import serving

ADVISORY = {
    "id": 1,
    "url": "https://github.com/advisories/GHSA-1",
    "title": "Prototype pollution",
    "severity": "high",
    "vulnerable_versions": "<2.0.0",
}


def test_advisories_of_npm_name_package_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [{"name": "zod", "version": "1.0.0"}, {"name": "ms", "version": "2.0.0"}]
    with serving() as registry:
        registry.open.set()
        monkeypatch.setenv("ZMESH_NPM_REGISTRY", registry.npm_url())
        found, failures = check("node", packages)
        assert (found, [failure.partition(": ")[0] for failure in failures]) == ([], ["zod 1.0.0", "ms 2.0.0"])
        registry.answers["/-/npm/v1/security/advisories/bulk"] = {"zod": [ADVISORY]}
        [one], failures = check("node", packages)
    assert (one.package, one.version, one.id, one.severity, one.affected) == (
        "zod",
        "1.0.0",
        "GHSA-1",
        "high",
        "<2.0.0",
    )
    assert failures == []


def test_packages_of_a_project_s_registry_are_not_named_to_others() -> None:
    assert [is_of("@acme/core", "@acme"), is_of("@acmes/core", "@acme"), is_of("core", "@acme")] == [True, False, False]
    assert [is_of("Acme_Core", "acme-*"), is_of("acme", "acme-*"), is_of("x", "acme-core")] == [True, False, False]
    assert is_of("whatever", "")
