"""The zmesh object that a handler gets as its second argument."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from zmesh_runtime.database import Database, Session
from zmesh_runtime.http import Request, Response
from zmesh_runtime.invocations import AnsweredInvocations, Invocations
from zmesh_runtime.sessions import Taken

NO_INVOKE = (
    "zmesh.invoke is not available in a dry run: the other function would run for real. "
    "zmesh.enqueue is, and is rolled back"
)


class Env(Mapping[str, str]):
    """The function's environment variables: env.KEY, env["KEY"], env.get("KEY")."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()
        }

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._variables[name]
        except KeyError:
            raise AttributeError(self._missing(name), name=name, obj=None) from None

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"Env({', '.join(self._variables)})"  # the values may be secrets

    def _missing(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._variables, 1)
        hint = f"did you mean {close[0]}?" if close else f'add it to env_vars, or use env.get("{name}")'
        return f"this function has no environment variable {name}: {hint}"


class Invocation(NamedTuple):
    """Which run this is."""

    id: str | None
    attempt: int
    function: str
    version: int | None
    source: str | None


class Zmesh:
    """What a function has of its project."""

    def __init__(
        self,
        context: Mapping[str, Any],
        env: Mapping[str, Any],
        take_session: Callable[[], Taken | None] = lambda: None,
    ) -> None:
        self.project_id: str = str(context.get("project_id", ""))
        self.env = Env(env)
        self.invocation = Invocation(
            context.get("invocation_id"),
            context.get("attempt") or 1,
            context.get("function", ""),
            context.get("version"),
            context.get("source"),
        )
        # W3C trace context for what this run asks of others; functions that it starts get it by themselves.
        self.traceparent: str | None = context.get("traceparent")
        self._context = context
        self._take_session = take_session

    @cached_property
    def db(self) -> Database:
        """The project's own database."""
        return Database(self._session)

    @cached_property
    def _session(self) -> Session:
        name = f"zmesh {self.invocation.function}"[:63]
        url, in_transaction = self._context.get("database_url", ""), bool(self._context.get("dry_run"))
        return Session(url, name, self._take_session, in_transaction=in_transaction)

    @cached_property
    def request(self) -> Request | None:
        """The HTTP request behind this invocation; None when it was invoked another way."""
        request = self._context.get("request")
        return None if request is None else Request(request)

    @cached_property
    def _invocations(self) -> Invocations:
        kind = AnsweredInvocations if self._context.get("in_test") else Invocations
        return kind(self.db, self.invocation.id, self._session.connect)

    @property
    def projectId(self) -> str:  # the JavaScript spelling
        """The project's id."""
        return self.project_id

    def invoke(
        self,
        slug: str,
        payload: Any = None,
        *,
        timeout_ms: float | None = None,
        version: int | None = None,
        alias: str | None = None,
    ) -> Any:
        """Run another function of the project and return its result; raises InvocationError when it fails."""
        if self._context.get("dry_run") and not self._context.get("in_test"):
            raise RuntimeError(NO_INVOKE)
        return self._invocations.invoke(
            slug, {} if payload is None else payload, timeout_ms, version=version, alias=alias
        )

    def enqueue(
        self,
        slug: str,
        payload: Any = None,
        *,
        run_at: datetime | str | None = None,
        delay_seconds: float | None = None,
        expires_at: datetime | str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        concurrency_key: str | None = None,
        idempotency_key: str | None = None,
        callback_url: str | None = None,
        version: int | None = None,
        alias: str | None = None,
    ) -> str:
        """Run another function later, without waiting; returns the invocation's id. Part of an open transaction."""
        return self._invocations.enqueue(
            slug,
            {} if payload is None else payload,
            run_at,
            delay_seconds,
            expires_at=expires_at,
            priority=priority,
            max_attempts=max_attempts,
            concurrency_key=concurrency_key,
            idempotency_key=idempotency_key,
            callback_url=callback_url,
            version=version,
            alias=alias,
        )

    def response(
        self,
        body: Any = None,
        options: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        headers: Any = None,
    ) -> Response:
        """A raw HTTP response: return it from the handler. Text, bytes, or anything JSON.

        `headers`: a mapping, where a list stands for several lines of the name, or pairs of name and value.
        """
        given = {"status": status, "headers": headers, **(options or {})}
        unknown = set(given) - {"status", "headers"}
        if unknown:
            raise TypeError(f"response has no option {', '.join(sorted(unknown))}; it has status and headers")
        return Response(body, given["status"], given["headers"])
