"""Secrets reach the code, and nothing else shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.platform import Platform, eventually

VALUE = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
PYTHON = """
import os

def handler(payload, zmesh):
    if payload.get("leak"):
        print("the key is", zmesh.env.STRIPE_KEY)
        raise ValueError(f"{zmesh.env.STRIPE_KEY} was refused")
    return [zmesh.env.get("STRIPE_KEY"), os.environ.get("STRIPE_KEY"), zmesh.env.get("MODE")]
"""
JAVASCRIPT = """
exports.handler = async (payload, zmesh) => {
  if (payload.leak) {
    console.log("the key is", zmesh.env.STRIPE_KEY);
    throw new Error(zmesh.env.STRIPE_KEY + " was refused");
  }
  return [zmesh.env.STRIPE_KEY ?? null, process.env.STRIPE_KEY ?? null, zmesh.env.MODE ?? null];
};
"""


@pytest.fixture(params=["python", "javascript"])
def function(request: pytest.FixtureRequest, running_platform: Platform) -> Iterator[str]:
    """Slug of a function that looks into its environment."""
    code = PYTHON if request.param == "python" else JAVASCRIPT
    slug = f"pays-in-{request.param}"
    running_platform.deploy(slug, code, request.param, env_vars={"MODE": "variable"})
    yield slug
    running_platform.request("DELETE", f"/functions/{slug}")
    for name in ("STRIPE_KEY", "MODE"):
        running_platform.request("DELETE", f"/secrets/{name}")


def put(platform: Platform, path: str, value: str) -> None:
    answer = platform.request("PUT", path, json={"value": value})
    assert answer.is_success, answer.text
    assert value not in answer.text


def test_function_secrets_override_project_secrets_and_new_values_need_no_deployment(
    running_platform: Platform, function: str
) -> None:
    assert running_platform.result(function) == [None, None, "variable"]
    put(running_platform, "/secrets/STRIPE_KEY", "of the project")
    put(running_platform, "/secrets/MODE", "of the project")
    assert running_platform.result(function) == ["of the project", "of the project", "variable"]
    put(running_platform, f"/functions/{function}/secrets/STRIPE_KEY", VALUE)
    put(running_platform, f"/functions/{function}/secrets/MODE", "secret")
    assert running_platform.result(function) == [VALUE, VALUE, "secret"]
    put(running_platform, f"/functions/{function}/secrets/STRIPE_KEY", "schön\n'\"\\ neu")
    assert running_platform.result(function)[0] == "schön\n'\"\\ neu"
    running_platform.request("DELETE", f"/functions/{function}/secrets/STRIPE_KEY")
    assert running_platform.result(function)[0] == "of the project"
    assert running_platform.request("GET", f"/functions/{function}").json()["version"] == 1


def test_no_output_of_the_platform_contains_the_value(running_platform: Platform, function: str) -> None:
    put(running_platform, f"/functions/{function}/secrets/STRIPE_KEY", VALUE)
    failed = running_platform.invoke(function, {"leak": True})
    assert failed.status_code == 500
    assert "*** was refused" in failed.json()["error"]["message"]
    id = failed.json()["invocation_id"]
    assert running_platform.request("GET", f"/invocations/{id}/logs").json()["items"][0]["message"] == "the key is ***"
    paths = (
        f"/functions/{function}",
        "/functions",
        f"/functions/{function}/versions",
        f"/functions/{function}/invocations",
        f"/functions/{function}/secrets",
        f"/invocations/{id}",
        f"/invocations/{id}/logs",
    )
    for path in paths:
        assert VALUE not in running_platform.request("GET", path).text, path
    logs = running_platform.folder / ".zmesh" / "logs"
    assert all(VALUE not in log.read_text(errors="replace") for log in logs.iterdir())
    stored = running_platform.sql("select * from zmesh.invocations where id = %s", id)
    assert VALUE not in json.dumps(stored, default=str)


def test_followed_log_lines_do_not_contain_the_value_either(running_platform: Platform, function: str) -> None:
    if not function.endswith("python"):
        pytest.skip("the same for every language")
    code = "import time\n\ndef handler(payload, zmesh):\n    print(zmesh.env.STRIPE_KEY)\n    time.sleep(60)\n"
    running_platform.request("PATCH", f"/functions/{function}", json={"code": code, "timeout_ms": 60_000})
    put(running_platform, f"/functions/{function}/secrets/STRIPE_KEY", VALUE)
    id = running_platform.enqueue(function)
    try:
        path = f"/invocations/{id}/logs"
        lines = eventually(lambda: running_platform.request("GET", path).json()["items"], "the first line")
        assert [line["message"] for line in lines] == ["***"]
    finally:
        running_platform.request("POST", f"/invocations/{id}/cancel")
        running_platform.ended(id)


def test_another_function_does_not_get_it(running_platform: Platform, function: str) -> None:
    put(running_platform, f"/functions/{function}/secrets/STRIPE_KEY", VALUE)
    running_platform.deploy("curious", PYTHON, "python")
    try:
        assert running_platform.result("curious") == [None, None, None]
    finally:
        running_platform.request("DELETE", "/functions/curious")


def test_a_secret_is_set_from_standard_input(running_platform: Platform, function: str) -> None:
    options = ("--function", function)
    assert VALUE not in running_platform.zmesh("secrets", "set", "STRIPE_KEY", *options, stdin=f"{VALUE}\n")
    assert running_platform.result(function)[0] == VALUE
    listed = running_platform.zmesh("secrets", "list", *options)
    assert [secret["name"] for secret in json.loads(listed)] == ["STRIPE_KEY"]
    assert VALUE not in listed
    running_platform.zmesh("secrets", "delete", "STRIPE_KEY", *options)
    assert running_platform.result(function)[0] is None


def test_a_value_among_the_arguments_is_refused_and_so_is_none(running_platform: Platform) -> None:
    refused = running_platform.zmesh("secrets", "set", f"STRIPE_KEY={VALUE}", status=2)
    assert "zmesh secrets set STRIPE_KEY" in " ".join(refused.split())
    assert VALUE not in refused
    assert "standard input is empty" in " ".join(
        running_platform.zmesh("secrets", "set", "STRIPE_KEY", status=2).replace("│", "").split()
    )
