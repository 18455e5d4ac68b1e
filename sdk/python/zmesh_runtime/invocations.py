"""zmesh.enqueue and zmesh.invoke: functions that start other functions, by an insert into zmesh.invocations."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from zmesh_runtime import statements
from zmesh_runtime.database import Connection, Database, Row, leave_out_context
from zmesh_runtime.http import Response

POLL_SECONDS = 1.0
_ROW = "select status, result, response, error from zmesh.invocations where id = %s and finished_at is not null"
_ASK_THE_TEST = "select gen_random_uuid() as id, zmesh_test.invoke(%s, %s, %s, %s, %s) as ended"
_TOO_DEEP = "ZM508"
# A key that was sent over HTTP belongs to another caller.
_SAME_KEY = "select id from zmesh.invocations where function = %s and idempotency_key = %s and source <> 'api'"


class InvocationError(Exception):
    """The invoked function failed; type, message and stack are those of its error.

    `invocation_id` is None if it was not even started: calls are nested too deeply (`depth_limit`).
    """

    def __init__(self, function: str, invocation_id: UUID | None, status: str, error: Row) -> None:
        self.function = function
        self.invocation_id = None if invocation_id is None else str(invocation_id)
        self.status = status
        self.type: str = error.get("type") or status
        self.message: str = error.get("message") or ""
        self.stack: str | None = error.get("stack")
        super().__init__(self.message)
        what = self.stack or f"{self.type}: {self.message}"
        self.add_note(f'caused by: function "{function}" ended as {status}\n{what}')


class Invocations:
    """Starts other functions of the project on behalf of this run."""

    def __init__(self, database: Database, parent_id: str | None, connect: Callable[[], Connection]) -> None:
        """`connect` makes a connection beside the one of the database."""
        self._database = database
        self._parent_id = parent_id
        self._connect = connect
        self._idle: list[_Waiter] = []

    def enqueue(
        self,
        function: str,
        payload: Any,
        run_at: datetime | str | None,
        delay_seconds: float | None,
        **options: Any,
    ) -> str:
        """Insert the invocation on the run's own connection: inside a transaction it is part of it."""
        if run_at is not None and delay_seconds is not None:
            raise ValueError("pass run_at or delay_seconds, not both")
        columns = self._columns(function, payload, run_at=run_at, **options)
        values = list(columns.values()) + ([] if delay_seconds is None else [delay_seconds])
        try:
            rows = self._database.query(statements.insert_invocation(columns, delay_seconds is not None), values)
        except psycopg.Error as error:
            raise _invocation_error_for(function, error) from None
        rows = rows or self._database.query(_SAME_KEY, [function, options.get("idempotency_key")])
        return str(rows[0]["id"])

    def invoke(self, function: str, payload: Any, timeout_ms: float | None, **options: Any) -> Any:
        """Insert the invocation on a connection of its own and wait for its end."""
        waiter = self._idle.pop() if self._idle else _Waiter(self._connect())
        columns = self._columns(function, payload, reply_channel=waiter.channel, max_attempts=1, **options)
        try:
            id, ended = waiter.start_and_wait(columns, None if timeout_ms is None else timeout_ms / 1000)
        except psycopg.Error as error:
            raise _invocation_error_for(function, error) from None
        self._idle.append(waiter)
        if ended is None:
            message = f"no answer within {timeout_ms} ms; the function may still be running"
            raise InvocationError(function, id, "timeout", {"type": "timeout", "message": message})
        return _result_of(function, id, ended)

    def _columns(self, function: str, payload: Any, **options: Any) -> dict[str, Any]:
        columns = {"function": function, "payload": Jsonb(payload), "parent_id": self._parent_id, **options}
        return {name: value for name, value in columns.items() if value is not None}


class AnsweredInvocations(Invocations):
    """For the sandbox of `zmesh test`, where the test has set what other functions answer."""

    def invoke(self, function: str, payload: Any, timeout_ms: float | None, **options: Any) -> Any:
        """Record the call, and return its answer."""
        parameters = [function, Jsonb(payload), timeout_ms, options["version"], options["alias"]]
        [row] = self._database.query(_ASK_THE_TEST, parameters)
        if row["ended"] is None:
            raise LookupError(
                f'no answer to zmesh.invoke("{function}"): set zmesh.answers["{function}"] in the test, '
                "to a value or a Failure"
            )
        return _result_of(function, row["id"], row["ended"])


class _Waiter:
    """A connection that listens on a random channel. The notification is only a hint; the row is authoritative."""

    def __init__(self, connection: Connection) -> None:
        self.channel = f"zmesh_i_{secrets.token_hex(16)}"
        self._connection = connection
        connection.execute(f"listen {self.channel}")

    def start_and_wait(self, columns: Row, seconds: float | None) -> tuple[UUID, Row | None]:
        deadline = None if seconds is None else time.monotonic() + seconds
        [inserted] = self._connection.execute(
            statements.insert_invocation(columns, delayed=False),
            list(columns.values()),
        )
        id: UUID = inserted["id"]
        while True:
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            for _ in self._connection.notifies(timeout=max(left, 0), stop_after=1):
                pass
            ended = self._connection.execute(_ROW, [id]).fetchone()
            if ended is not None or (deadline is not None and time.monotonic() >= deadline):
                return id, ended


def _invocation_error_for(function: str, error: psycopg.Error) -> Exception:
    leave_out_context(error)
    if error.sqlstate != _TOO_DEEP:
        return error
    return InvocationError(function, None, "error", {"type": "depth_limit", "message": str(error)})


def _result_of(function: str, id: UUID, ended: Row) -> Any:
    if ended["status"] != "success":
        raise InvocationError(function, id, ended["status"], ended["error"] or {})
    return ended["result"] if ended["response"] is None else response_of(ended["response"])


def response_of(stored: Row) -> Response:
    """A response as the platform stores it."""
    body = base64.b64decode(stored.get("body_base64") or "")
    return Response(body, stored["status"], stored["headers"])
