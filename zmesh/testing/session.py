"""The database session of a test: everything happens in one transaction, which is never committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus
from zmesh_runtime.database import Connection, Row, Scope, Session, TransactionError

from zmesh.testing.clock import Clock

if TYPE_CHECKING:
    from zmesh_runtime.statements import Params

# What a commit would check. It is undone, so that constraints stay as deferred as they were.
_CHECK_DEFERRED = "savepoint zmesh_check; set constraints all immediate; rollback to zmesh_check; release zmesh_check"
_COMMITTED = (
    "the code ended the transaction by an SQL statement of its own, and a test's cannot be rolled back then: "
    "use zmesh.db.transaction(). What it committed stays until all tests have ended"
)
_ENDED = "this test has ended: join every thread that uses zmesh"


class RolledBackSession(Session):
    """As in a run, each statement and each outermost transaction fails or succeeds by itself: they are savepoints."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, "zmesh test", root=Scope(depth=1))
        self._clock = clock
        self._closed = False
        self._time: datetime | None = None  # what zmesh.now() says, as for the due times of what is enqueued

    def run(self, scope: Scope, sql: str, params: Params) -> list[Row]:
        if scope is not self.root:
            return super().run(scope, sql, params)
        with self.transaction(scope) as inner:
            return super().run(inner, sql, params)

    @contextmanager
    def transaction(self, parent: Scope) -> Iterator[Scope]:
        try:
            with super().transaction(parent) as scope:
                yield scope
                if parent is self.root:
                    self._check_deferred(scope)
        except psycopg.errors.NoActiveSqlTransaction as error:
            raise TransactionError(_COMMITTED) from error

    def close(self) -> None:
        """Roll everything back."""
        self._closed = True
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def _open(self, scope: Scope) -> Connection:
        if self._closed:  # a new connection would hold its locks until all tests have ended
            raise TransactionError(_ENDED)
        connection = super()._open(scope)
        if scope is self.root:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                connection.execute("begin")
                self._time = None
            if self._time != self._clock.now:
                self._time = self._clock.now
                connection.execute("select set_config('zmesh_test.now', %s, false)", [self._time.isoformat()])
        return connection

    def _check_deferred(self, scope: Scope) -> None:
        with self.turn(scope) as connection:
            if connection.info.transaction_status == TransactionStatus.INTRANS:  # else the end of the block reports it
                connection.execute(_CHECK_DEFERRED)
