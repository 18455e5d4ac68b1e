"""The zmesh object of one test."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from zmesh_runtime import Env, InvocationError, Request, Response, Zmesh
from zmesh_runtime.results import to_json

from zmesh.testing.clock import Clock
from zmesh.testing.session import RolledBackSession

_ENQUEUED = """
select id::text, function, payload, run_at, expires_at, priority, max_attempts, idempotency_key, concurrency_key,
       callback_url, version, alias
  from zmesh.invocations join zmesh_test.enqueued using (id) order by number
"""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """An invocation that would run later, by zmesh.enqueue(), SQL or a table change."""

    id: str
    function: str
    payload: Any
    run_at: datetime
    expires_at: datetime | None
    priority: int
    max_attempts: int
    idempotency_key: str | None
    concurrency_key: str | None
    callback_url: str | None
    version: int | None
    alias: str | None


@dataclass(frozen=True, slots=True)
class Invoked:
    """A call of zmesh.invoke()."""

    function: str
    payload: Any
    timeout_ms: float | None
    version: int | None
    alias: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer of a function that fails: zmesh.invoke() raises InvocationError with this type and message."""

    type: str
    message: str = ""
    status: str = "error"


class _SettableEnv(Env):
    """Variables and secrets that the test sets: zmesh.env["STRIPE_KEY"] = "sk_test"."""

    def __setitem__(self, name: str, value: str) -> None:
        self._variables[name] = value


class RecordingZmesh(Zmesh):
    """What a handler gets in a test. `answers`: function → what invoke() returns, a callable that takes the payload,
    or a Failure."""

    env: _SettableEnv

    def __init__(self, database_url: str) -> None:
        context = {"invocation_id": str(uuid4()), "function": "test", "version": 1, "source": "api"}
        super().__init__({**context, "database_url": database_url}, {})
        self.env = _SettableEnv({})
        self.answers: dict[str, Any] = {}
        self.invoked: list[Invoked] = []
        self.clock = Clock()

    @cached_property
    def _session(self) -> RolledBackSession:
        return RolledBackSession(self._context["database_url"], self.clock)

    def invoke(
        self,
        slug: str,
        payload: Any = None,
        *,
        timeout_ms: float | None = None,
        version: int | None = None,
        alias: str | None = None,
    ) -> Any:
        """Record the call and return the answer that the test has laid down for it."""
        sent = _as_json({} if payload is None else payload)
        self.invoked.append(Invoked(slug, sent, timeout_ms, version, alias))
        if slug not in self.answers:
            raise LookupError(f'no answer to zmesh.invoke("{slug}"): set zmesh.answers["{slug}"] in the test')
        answer = self.answers[slug]
        if callable(answer):
            answer = answer(sent)
        if isinstance(answer, Failure):
            raise InvocationError(slug, uuid4(), answer.status, {"type": answer.type, "message": answer.message})
        return answer if isinstance(answer, Response) else _as_json(answer)

    @property
    def enqueued(self) -> list[Enqueued]:
        """What would run later, in the order of the inserts. What was rolled back is not among it."""
        return [Enqueued(**row) for row in self.db.query(_ENQUEUED)]

    @property
    def due(self) -> list[Enqueued]:
        """What of that may start by now, according to the clock."""
        return [one for one in self.enqueued if one.run_at <= self.clock.now]

    def set_request(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = b"",
    ) -> Request:
        """Have zmesh.request be this one. A body that is neither bytes nor text is sent as JSON."""
        every = {name: [one] if isinstance(one, str) else list(one) for name, one in (query or {}).items()}
        is_json = not isinstance(body, (bytes, str))
        content = body if isinstance(body, bytes) else (to_json(body) if is_json else body).encode()
        request = {
            "method": method.upper(),
            "path": path,
            "raw_query": urlencode(every, doseq=True),
            "query": every,
            "headers": {**({"content-type": "application/json"} if is_json else {}), **(headers or {})},
            "body_base64": base64.b64encode(content).decode(),
        }
        self.request = Request(request)
        return self.request

    def close(self) -> None:
        """Roll back what the test has done."""
        self._session.close()


def _as_json(value: Any) -> Any:
    """As it arrives on the other side."""
    return json.loads(to_json(value))
