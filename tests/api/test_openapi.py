"""The OpenAPI document describes what the server does."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from litestar.testing import TestClient

from api import openapi
from api.app import Parts, create_app
from api.settings import Settings
from support.sealing import Sealer
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


def test_the_document_is_made_once_when_it_is_asked_for_and_not_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    parts = Parts.of(Settings(database_url=nowhere, jwt_secret_key="x" * 32, secret_key=Sealer.new_key()))
    loops: list[object] = []
    schemas_of = openapi._schemas

    def schemas() -> dict[str, Any]:
        loops.append(asyncio._get_running_loop())
        return schemas_of()

    monkeypatch.setattr(openapi, "_schemas", schemas)
    with TestClient(create_app(parts)) as client:
        assert client.get("/projects").status_code == 401
        assert loops == []
        with ThreadPoolExecutor() as threads:
            answers = list(threads.map(client.get, ["/schema/openapi.json"] * 2))
        assert client.get("/schema").status_code == 200
    assert loops == [None]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["paths"]


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
