"""Registries of projects over HTTP: what they decide, and what is refused."""

from __future__ import annotations

from tests.api.client import Api

REGISTRY = {"runtime": "python", "packages": "Acme_Core", "url": "https://packages.acme.example/simple"}


def requested(api: Api) -> str:
    body = {"language": "python", "files": {"requirements.txt": "acme-core\n"}}
    answer = api.call("POST", "/builds", json=body)
    assert answer.is_success, answer.text
    id: str = answer.json()["id"]
    return id


def test_a_build_from_other_registries_is_another_build(api: Api) -> None:
    public = requested(api)
    assert api.call("PUT", "/registries", json=REGISTRY).json()["packages"] == "acme-core"
    private = requested(api)
    assert public != private
    assert api.call("PUT", "/registries", json={**REGISTRY, "token": "renewed"}).json()["has_token"] is True
    assert requested(api) == private
    [one] = api.call("GET", "/registries").json()["items"]
    assert api.call("DELETE", f"/registries/{one['id']}").status_code == 204
    assert requested(api) == public


def test_registries_that_make_no_sense_are_refused(api: Api) -> None:
    for body, reason in (
        ({"runtime": "node", "url": "https://x.example/", "packages": "acme-*"}, "a scope, such as @acme"),
        ({"runtime": "python", "url": "https://x.example/", "packages": "@acme"}, "a name or a prefix"),
        ({"runtime": "python", "url": "https://ada:pw-7c1e@x.example/"}, "give it as the token"),
        ({"runtime": "python", "url": "file:///etc"}, "is not the URL of a registry"),
        ({"runtime": "python", "url": "https://*.com/simple"}, "is not the URL of a registry"),
        ({"runtime": "ruby", "url": "https://x.example/"}, "runtime"),
        ({**REGISTRY, "token": "two words-7c1e"}, "token"),
    ):
        answer = api.call("PUT", "/registries", json=body)
        assert answer.status_code == 422, answer.text
        assert reason in answer.text
        assert "-7c1e" not in answer.text


def test_only_names_of_packages_may_run_scripts(api: Api) -> None:
    path = f"/projects/{api.project.id}"
    assert api.call("PATCH", path, json={"allow_scripts": ["@acme/core", "esbuild"]}).json()["allow_scripts"] == [
        "@acme/core",
        "esbuild",
    ]
    assert api.call("PATCH", path, json={"allow_scripts": ["../x"]}).status_code == 422
