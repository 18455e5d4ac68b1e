"""The zmesh object of one test."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from zmesh_runtime import Env, InvocationError, Request, Response, Zmesh
from zmesh_runtime.invocations import response_of
from zmesh_runtime.results import to_json

from zmesh.testing.clock import Clock
from zmesh.testing.sandbox import run_in_sandbox
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
        self._context = {**self._context, "request": request}
        self.request = Request(request)
        return self.request

    def run(self, path: str | PathLike[str], payload: Any = None) -> Any:
        """Run the handler of a file or folder in the sandbox, with the limits that zmesh.toml declares, in the
        transaction of this test. Returns its result. Raises InvocationError if it fails, or hits a limit."""
        sent = _as_json({} if payload is None else payload)
        asked = {"payload": sent, "env": dict(self.env), "context": {**self._context, "database_url": ""}}
        ended, invoked = run_in_sandbox(self._session, path, asked, self._ends())
        self.invoked += [Invoked(**call) for call in invoked]
        for line in ended["logs"]:
            print(line["message"])
        if ended["status"] != "success":
            id = UUID(self._context["invocation_id"])
            raise InvocationError(Path(path).stem, id, ended["status"], ended["error"] or {})
        return ended["result"] if ended["response"] is None else response_of(ended["response"])

    def _ends(self) -> dict[str, Any]:
        """How calls of other functions end, as far as this is known before the run."""
        known = {function: answer for function, answer in self.answers.items() if not callable(answer)}
        return {function: _end(answer) for function, answer in known.items()}

    def close(self) -> None:
        """Roll back what the test has done."""
        self._session.close()


def _end(answer: Any) -> dict[str, Any]:
    """As the platform stores how an invocation ended."""
    if isinstance(answer, Failure):
        error = {"type": answer.type, "message": answer.message}
        return {"status": answer.status, "result": None, "response": None, "error": error}
    if isinstance(answer, Response):
        body = base64.b64encode(answer.body).decode()
        response = {"status": answer.status, "headers": answer.headers, "body_base64": body}
        return {"status": "success", "result": None, "response": response, "error": None}
    return {"status": "success", "result": _as_json(answer), "response": None, "error": None}


def _as_json(value: Any) -> Any:
    """As it arrives on the other side."""
    return json.loads(to_json(value))
