"""A client that a generator made of the OpenAPI document, as a user of any language would, deploys and invokes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform

NAME = "generated"
CODE = "def handler(payload, zmesh):\n    return {'got': payload}\n"


@pytest.fixture(scope="module")
def package(running_platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of the package that was generated."""
    folder = tmp_path_factory.mktemp("client")
    document = folder / "openapi.json"
    document.write_text(running_platform.client.get(f"{running_platform.url}/schema/openapi.json").text)
    (folder / "config.yml").write_text("package_name_override: zmesh_client\npost_hooks: []\n")
    command = [Path(sys.executable).parent / "openapi-python-client", "generate", "--path", document]
    command += ["--output-path", folder / "made", "--config", folder / "config.yml", "--meta", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "will not be generated" not in done.stdout + done.stderr, done.stdout + done.stderr
    (folder / "made").rename(folder / "zmesh_client")
    sys.path.insert(0, str(folder))
    yield "zmesh_client"
    sys.path.remove(str(folder))


def test_a_generated_client_does_what_the_document_promises(running_platform: Platform, package: str) -> None:
    def module(path: str) -> Any:
        return importlib.import_module(f"{package}.{path}")

    models = module("models")
    person = module("client").AuthenticatedClient(
        base_url=running_platform.url, token=running_platform.token, raise_on_unexpected_status=True
    )
    wanted = models.FunctionToCreate.from_dict({"name": NAME, "language": "python", "code": CODE})
    made = module("api.functions.create_function").sync(client=person, body=wanted)
    assert isinstance(made, models.FunctionDetails), made
    try:
        assert (made.slug, made.version, made.timeout_ms) == (NAME, 1, 10_000)
        body = module("models").InvokeFunctionBody.from_dict({"payload": {"n": 1}})
        answer = module("api.invoking.invoke_function").sync(client=person, id=NAME, body=body)
        assert isinstance(answer, models.Envelope)
        assert (answer.status, answer.result) == ("success", {"got": {"n": 1}})
        changed = models.FunctionChange.from_dict({"code": CODE + "\n"})
        assert module("api.functions.update_function").sync(client=person, id=NAME, body=changed).version == 2
        page = module("api.functions.list_functions").sync(client=person, limit=100)
        assert NAME in [function.slug for function in page.items]
        [run] = module("api.invocations.list_invocations").sync(client=person, id=NAME).items
        assert (str(run.id), run.status) == (str(answer.invocation_id), "success")
        refused = module("api.functions.get_function").sync(client=person, id="unknown")
        assert isinstance(refused, models.ProblemDetails)
        assert refused.code == "function_not_found"
    finally:
        module("api.functions.delete_function").sync_detailed(client=person, id=NAME)
