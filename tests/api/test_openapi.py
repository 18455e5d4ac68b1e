"""The OpenAPI document describes what the server does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from api import openapi
from tests.api.client import Api

HTTP = ("get", "post", "put", "patch", "delete", "head")


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get(f"{api.url}/schema/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(p, m, o) for p, item in document["paths"].items() for m, o in item.items() if m in HTTP]


def test_every_endpoint_of_the_product_is_documented(document: dict[str, Any]) -> None:
    documented = {(method.upper(), path) for path, method, _ in operations(document)}
    assert documented >= {
        ("GET", "/functions"),
        ("POST", "/functions"),
        ("GET", "/functions/{id}"),
        ("PATCH", "/functions/{id}"),
        ("DELETE", "/functions/{id}"),
        ("POST", "/functions/{id}/invoke"),
        ("POST", "/api/functions/{slug}"),
        ("GET", "/functions/{id}/invocations"),
        ("GET", "/functions/{id}/versions"),
        ("POST", "/functions/{id}/versions/{version}/rollback"),
    }


def test_operations_say_what_they_do_who_may_and_how_they_fail(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    open_to_all = {"login", "refresh", "logout", "acceptInvitation", "changePassword", "health", "receiveWebhook"}
    open_to_all |= {"signIn", "signInByLink"}
    for path, _, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        assert bool(operation.get("security")) == (operation["operationId"] not in open_to_all), path
        failures = [r for status, r in operation["responses"].items() if status in ("401", "403", "404", "422")]
        assert all("application/problem+json" in failure["content"] for failure in failures), path


def test_endpoints_that_take_a_deploy_key_say_so(document: dict[str, Any]) -> None:
    takes_keys = {
        operation["operationId"]
        for _, _, operation in operations(document)
        if {"apiKey": []} in operation.get("security", []) and {"bearer": []} in operation["security"]
    }
    assert {"deploy", "updateFunction", "createSchedule", "getBuildLogs"} < takes_keys
    assert not takes_keys & {"deleteFunction", "createKey", "listMembers", "setSecret", "rotateWebhookSecret"}


def test_a_server_serves_the_document_that_the_code_says(api: Api) -> None:
    served = api.client.get(f"{api.url}/schema/openapi.json")

    assert served.headers["content-type"] == "application/vnd.oai.openapi+json"
    assert served.content == openapi.make_document()


def test_a_server_never_spends_time_on_making_it() -> None:
    """Even in a thread, making it kept the interpreter from the event loop."""
    loaded = "import sys, api.main; print('api.openapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout == "False\n"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    for reference in references(document):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_schemas_carry_the_rules_and_examples_of_the_models(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("FunctionToCreate", "FunctionChange"):
        timeout = schemas[name]["properties"]["timeout_ms"]
        assert (timeout["type"], timeout["minimum"], timeout["maximum"]) == ("integer", 1, 900_000)
        assert schemas[name]["additionalProperties"] is False
    assert "default" not in schemas["FunctionChange"]["properties"]["timeout_ms"]
    assert schemas["FunctionToCreate"]["examples"]
    assert set(schemas) >= {model.__name__ for model in openapi.REQUEST_MODELS}


@pytest.mark.parametrize(
    "model", [m for m in openapi.REQUEST_MODELS + openapi.RESPONSE_MODELS if m.model_config.get("json_schema_extra")]
)
def test_examples_are_valid(model: Any) -> None:
    for example in model.model_json_schema().get("examples", []):
        model.model_validate_json(json.dumps(example))


def test_uploads_of_functions_with_files_are_described_beside_json(document: dict[str, Any]) -> None:
    described = {
        (method, path)
        for path, method, operation in operations(document)
        if "multipart/form-data: a part `function`" in operation.get("requestBody", {}).get("description", "")
    }
    assert described == {("post", "/functions"), ("patch", "/functions/{id}")}
