"""What a run finds in zmesh.env (variables and secrets), and how its secrets are masked in output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from listener.masking import Masker
from listener.postgres import storable
from sql.listeners import ClaimedInvocation
from sql.secrets import Sealed
from support.executors import Executor
from support.sealing import Sealer

LIGHT = 8 * 1024  # characters: with secrets chosen to make masking slow, these take 15 ms
_HEAVY = Executor("masking", 2)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of a run, and the masker of its secrets."""

    variables: dict[str, str]
    masker: Masker = field(default_factory=lambda: Masker(()), repr=False)

    def shown(self, text: str) -> str:
        """A text that the code wrote, in the form in which it can be stored: with its secrets masked."""
        return storable(self.masker.masked(text))


async def environment_of(invocation: ClaimedInvocation, sealed: Sequence[Sealed], sealer: Sealer) -> Environment:
    """The project's secrets, overridden by the function's variables, then by its own secrets. Raises SealingError."""
    return await off_the_loop(sum(len(secret.sealed) for secret in sealed), _environment_of, invocation, sealed, sealer)


async def off_the_loop(
    characters: int, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Result:
    """The result of work on a tenant's text of so many characters; done in a thread if there are many."""
    if characters <= LIGHT:
        return work(*arguments, **options)
    return await _HEAVY.run(work, *arguments, **options)


def _environment_of(invocation: ClaimedInvocation, sealed: Sequence[Sealed], sealer: Sealer) -> Environment:
    opened = [(secret.function_id, secret.name, sealer.open(secret.sealed, secret.purpose)) for secret in sealed]
    projects = {name: value for function, name, value in opened if function is None}
    own = {name: value for function, name, value in opened if function is not None}
    return Environment({**projects, **invocation.env_vars, **own}, Masker(value for _, _, value in opened))
