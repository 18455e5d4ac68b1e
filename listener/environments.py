"""What a run finds in zmesh.env: variables and secrets; and what must not get out of it by its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from listener.endings import printable
from sql.jobs import Job
from sql.sealing import Sealer
from sql.secrets import Sealed

MASK = "***"
SHORTEST_MASKED = 6  # a shorter value is in half of all texts by chance


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of a run. `hidden` are the texts to mask, longest first."""

    variables: dict[str, str]
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def shown(self, text: str) -> str:
        """A text that the code wrote, without secrets, as it can be stored."""
        for secret in self.hidden:
            text = text.replace(secret, MASK)
        return printable(text)


def environment_of(job: Job, sealed: Sequence[Sealed], sealer: Sealer) -> Environment:
    """The project's secrets, over them the function's variables, over them its secrets. Raises SealingError."""
    opened = [(secret.function_id, secret.name, sealer.open(secret.sealed, secret.purpose)) for secret in sealed]
    projects = {name: value for function, name, value in opened if function is None}
    own = {name: value for function, name, value in opened if function is not None}
    return Environment({**projects, **job.env_vars, **own}, _hidden([value for _, _, value in opened]))


def _hidden(values: Sequence[str]) -> tuple[str, ...]:
    """Whole values, and their lines: output comes line by line."""
    texts = {text for value in values for text in (value, *(line.strip() for line in value.splitlines()))}
    return tuple(sorted((text for text in texts if len(text) >= SHORTEST_MASKED), key=len, reverse=True))
