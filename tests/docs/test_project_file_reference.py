"""The reference of zmesh.toml has the keys of the models, with their types, defaults and descriptions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from cli.manifest import PARTS, ProjectFile
from tests.platform import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "zmesh-toml.md"
MODELS: dict[str, type[BaseModel]] = {"project": ProjectFile, **PARTS}


def table(model: type[BaseModel]) -> str:
    """The rows of a model, as the page should have them."""
    properties = model.model_json_schema()["properties"]
    rows = [
        f"| `{name}` | {_kind(properties[name])} | {_default(model, name)} | {properties[name]['description']} |"
        for name in model.model_fields
    ]
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows])


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "minimum" in schema:
        return f"{schema['minimum']:,} to {schema['maximum']:,}"
    if schema.get("type") == "array" and schema["items"].get("type") == "string":
        return (
            f"list of {_kind(schema['items'])}s"
            if "enum" not in schema["items"]
            else f"list of {_kind(schema['items'])}"
        )
    names = {"string": "text", "integer": "number", "boolean": "`true`, `false`", "object": "table", "array": "tables"}
    return names.get(schema.get("type", ""), "any value")


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    default = field.get_default()
    if default in (None, "", {}, []):
        return ""
    if isinstance(default, list):
        return ", ".join(f"`{value}`" for value in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@pytest.mark.parametrize("part", MODELS)
def test_the_table_of_a_model_is_on_the_page(part: str) -> None:
    assert table(MODELS[part]) in PAGE.read_text("utf-8"), f"should be:\n{table(MODELS[part])}"
