"""Registries of packages as HTTP shows them: everything but their tokens."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from packaging.utils import canonicalize_name
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.http.models import Model, Text

SCOPE = re.compile(r"@[a-z0-9_.~-]+")
NAMES = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(-\*)?")
LARGEST_TOKEN = 8000
Runtime = Literal["python", "node"]


def _is_registry(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and "*" not in (parts.hostname or "*") and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", url) or parts.query or parts.fragment:
        raise ValueError("is not the URL of a registry, such as https://packages.example.com/simple")
    if parts.password is not None:
        raise ValueError("must not contain a password: give it as the token")
    return url


Url = Annotated[Text, AfterValidator(_is_registry), Field(max_length=1000, description="It may name a user.")]
Packages = Annotated[
    Text,
    Field(
        max_length=214,
        description="Packages that come from this registry only: a scope of npm (@acme), a name (acme-core) or prefix "
        "(acme-*) of Python packages. Empty: all that no other registry of the project has.",
    ),
]


class RegistryToSet(Model):
    """A registry for some packages of a project, in place of the one before."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"runtime": "node", "packages": "@acme", "url": "https://npm.acme.example/", "token": "npm_abc123"}
            ]
        },
        hide_input_in_errors=True,
    )

    runtime: Runtime
    packages: Packages = ""
    url: Url
    token: Annotated[Text, Field(min_length=1, max_length=LARGEST_TOKEN, pattern=r"^[\x21-\x7e]+$")] | None = Field(
        default=None, description="Token, or the password of the user in the URL. Never shown again."
    )

    @model_validator(mode="after")
    def _names_packages(self) -> Self:
        if self.runtime == "python":
            prefix = self.packages.endswith("-*")
            self.packages = canonicalize_name(self.packages.removesuffix("-*")) + ("-*" if prefix else "")
        form = NAMES if self.runtime == "python" else SCOPE
        if self.packages and not form.fullmatch(self.packages):
            wanted = "a name or a prefix, such as acme-*" if self.runtime == "python" else "a scope, such as @acme"
            raise ValueError(f"packages must be {wanted}")
        return self


class RegistryDetails(BaseModel):
    """A registry without its token."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    runtime: Runtime
    packages: Packages
    url: str
    has_token: bool
    created_at: datetime
    updated_at: datetime
