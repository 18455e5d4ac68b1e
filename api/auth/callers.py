"""How a caller of the public route was authenticated, and which invocation options it may therefore set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from api.http.problems import Problem

Kind = Literal["anonymous", "api_key", "viewer", "member"]
_NAMES: dict[Kind, str] = {
    "anonymous": "callers without credentials",
    "api_key": "API keys",
    "viewer": "viewers of its project",
}


class Policy(Protocol):
    """The settings of a function that say which options its callers may set."""

    @property
    def slug(self) -> str: ...
    @property
    def anonymous_options(self) -> Sequence[str]: ...
    @property
    def key_options(self) -> Sequence[str]: ...
    @property
    def public_errors(self) -> bool: ...


class OptionNotAllowed(Problem):
    """The function's settings do not let this caller set an option."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key, a user's token or nothing; `member` is a user who may invoke the function anyway."""

    kind: Kind
    id: UUID | None = None

    @property
    def scope(self) -> str:
        """The scope of idempotency keys: no other credential gets their results."""
        match self.kind:
            case "anonymous":
                return "anonymous"
            case "api_key":
                return f"key:{self.id}"
        return f"user:{self.id}"

    def require(self, function: Policy, option: str, header: str) -> None:
        """Raises Problem 403 if the function does not let this caller set the option."""
        if self.kind == "member":
            return
        setting = "anonymous_options" if self.kind == "anonymous" else "key_options"
        allowed = function.anonymous_options if self.kind == "anonymous" else function.key_options
        if option not in allowed:
            raise OptionNotAllowed(
                403,
                "option_not_allowed",
                f'Function "{function.slug}" does not accept the header {header} from {_NAMES[self.kind]}.',
                f'Leave the header out, or add "{option}" to {setting} of the function.',
            )

    def sees_errors(self, function: Policy) -> bool:
        """Whether the caller gets type, message and stack of the function's error."""
        return self.kind != "anonymous" or function.public_errors


ANONYMOUS = Credential("anonymous")
