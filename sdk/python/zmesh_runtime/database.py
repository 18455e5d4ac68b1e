"""zmesh.db: the project's own database over one connection that opens on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import generators
from psycopg.adapt import AdaptersMap
from psycopg.rows import DictRow, dict_row

from zmesh_runtime import network, parameters, sessions, statements
from zmesh_runtime.sessions import Taken
from zmesh_runtime.statements import Params, Where

Row = dict[str, Any]


_ADAPTERS = parameters.adapters()
_OF_PLATFORM = "ZM"  # class of the SQLSTATEs of zmesh.fail()
_NO_COPY = (
    'zmesh.db cannot run "copy … to stdout" or "copy … from stdin": select and insert rows, '
    "or connect your own driver to zmesh.db.url"
)


class TransactionError(Exception):
    """The transaction is in a state that does not allow this."""


class Connection(psycopg.Connection[DictRow]):
    """A connection of the project's role: autocommit, rows as dicts, dict parameters as jsonb.

    It opens by one call of libpq: psycopg.connect() takes half as long again in a newly forked process.
    """

    @classmethod
    def open(cls, url: str, application_name: str, taken: Taken | None = None) -> Connection:
        """Through a session `taken` from the platform, if it is usable. Raises OperationalError."""
        pgconn = sessions.adopt(taken) if taken else None
        if pgconn is None:
            pgconn = psycopg.pq.PGconn.connect(_named(url, application_name).encode())
        if pgconn.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError(pgconn.get_error_message())
        pgconn.nonblocking = 1
        connection = cls(pgconn, row_factory=dict_row)
        connection.autocommit = True
        return connection

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


def leave_out_context(error: psycopg.Error) -> None:
    """Errors that the platform's own routines raise say what to do, not in which line of which routine they arose."""
    if (error.sqlstate or "").startswith(_OF_PLATFORM):
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        error.args = (f"{error.diag.message_primary}{hint}",)


def _named(url: str, application_name: str) -> str:
    """The connection string with a name for pg_stat_activity, and for a server that proves that it knows the password:
    while the real one is down, anybody may listen on its port and ask for the password in clear text."""
    if "://" in url:
        return f"{url}{'&' if '?' in url else '?'}application_name={quote(application_name)}&require_auth=scram-sha-256"
    return f"{url} application_name='{application_name}' require_auth=scram-sha-256"


class Scope:
    """One level of transactions. Its statements take turns, and a transaction within it is one long turn."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.ended = False
        self._lock = threading.Lock()
        self._inner_thread: int | None = None  # the thread that opened the transaction within this scope

    @contextmanager
    def turn(self) -> Iterator[None]:
        if self._inner_thread == threading.get_ident():
            raise TransactionError("another task of this thread has a transaction open: wait for it to end first")
        with self._lock:
            if self.ended:
                raise TransactionError("this transaction has ended")
            yield

    @contextmanager
    def inner(self) -> Iterator[Scope]:
        with self.turn():
            self._inner_thread = threading.get_ident()
            try:
                yield Scope(self.depth + 1)
            finally:
                self._inner_thread = None

    def end(self) -> None:
        with self._lock:
            self.ended = True


class Session:
    """The one connection of a run, and which transaction each task or thread is in."""

    def __init__(
        self,
        url: str,
        application_name: str,
        take_session: Callable[[], Taken | None] = lambda: None,
        root: Scope | None = None,
        *,
        in_transaction: bool = False,
    ) -> None:
        """`in_transaction`: the platform has begun one on the session, and nobody else may end it (a dry run)."""
        self.url = url
        self._take_session = take_session
        self._in_transaction = in_transaction
        self.root = root or Scope(1 if in_transaction else 0)
        self.current: ContextVar[Scope] = ContextVar("zmesh transaction", default=self.root)
        self._application_name = application_name
        self._connection: Connection | None = None

    def run(self, scope: Scope, sql: str, params: Params) -> list[Row]:
        """Rows of the last statement in the text; none for statements that return no rows."""
        if self._in_transaction and scope is self.root:  # one that fails undoes only itself, as without a transaction
            with self.transaction(scope) as alone:
                return self.run(alone, sql, params)
        with self.turn(scope) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(sql, params)
            except psycopg.DatabaseError as error:
                if isinstance(error, psycopg.ProgrammingError) and _ended_copy(connection):
                    raise TypeError(_NO_COPY) from error
                leave_out_context(error)
                raise
            while cursor.nextset():
                pass
            if cursor.description:
                return cursor.fetchall()
            rows = cursor.pgresult.ntuples if cursor.pgresult else 0  # the rows of "select from t" have no columns
            return [{} for _ in range(rows)]

    @contextmanager
    def turn(self, scope: Scope) -> Iterator[Connection]:
        with scope.turn():
            yield self._open(scope)

    def _open(self, scope: Scope) -> Connection:
        lost = self._connection is None or self._connection.closed
        if lost and scope is self.root:
            self._connection = self.connect(first=self._connection is None)
        assert self._connection is not None
        return self._connection

    def connect(self, *, first: bool = False) -> Connection:
        """Another connection like this session's. Only the first may take a session from the platform; without network
        all do. Raises OperationalError."""
        taken = None
        if network.is_off():
            taken = self._take_session()
            if taken is None:
                raise psycopg.OperationalError(network.NO_SESSION)
        elif first and not _has_settings_of_libpq():
            taken = self._take_session()
        return Connection.open(self.url, self._application_name, taken)

    @contextmanager
    def transaction(self, parent: Scope) -> Iterator[Scope]:
        with parent.inner() as scope:
            connection = self._open(parent)
            name = f"zmesh_{parent.depth}"
            connection.execute(f"savepoint {name}" if parent.depth else "begin")
            self.current.set(scope)
            try:
                yield scope
            except BaseException:
                scope.end()
                with suppress(psycopg.Error):
                    _roll_back(connection, name if parent.depth else None)
                raise
            finally:
                self.current.set(parent)
            scope.end()
            _commit(connection, name if parent.depth else None)


def _ended_copy(connection: Connection) -> bool:
    """Whether the connection was in the middle of a copy, which the driver starts and leaves open; if so, ends it."""
    was_open = False
    while connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
        was_open = True
        try:
            connection.wait(generators.copy_end(connection.pgconn, b"not supported"))
        except psycopg.errors.QueryCanceled:
            pass  # this ends a copy from the client
        except psycopg.OperationalError:  # it is a copy to the client
            _discard_copied(connection)
        connection.wait(generators.fetch_many(connection.pgconn))
    return was_open


def _discard_copied(connection: Connection) -> None:
    with suppress(psycopg.ProgrammingError):  # other statements may follow it in the same text
        while isinstance(connection.wait(generators.copy_from(connection.pgconn)), memoryview):
            pass


def _has_settings_of_libpq() -> bool:
    """Whether variables such as PGTZ are set, which take effect when a session begins."""
    return any(name.startswith("PG") for name in os.environ)


def _roll_back(connection: Connection, savepoint: str | None) -> None:
    if savepoint is None:
        connection.execute("rollback")
    else:
        connection.execute(f"rollback to {savepoint}; release {savepoint}")


def _commit(connection: Connection, savepoint: str | None) -> None:
    failed = connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    if failed:
        _roll_back(connection, savepoint)
        raise TransactionError("rolled back: a statement in this transaction had failed")
    connection.execute("commit" if savepoint is None else f"release {savepoint}")


class Database:
    """Runs SQL in the project's database. Rows are dicts; placeholders are %s."""

    def __init__(self, session: Session, scope: Scope | None = None) -> None:
        self._session = session
        self._bound_scope = scope

    @property
    def url(self) -> str:
        """Connection string of the project's role, for drivers of your own."""
        return self._session.url

    def query(self, sql: str, params: Params = None) -> list[Row]:
        """Run any SQL and return its rows. Without params a % in the text means itself."""
        return self._session.run(self._scope, sql, params)

    def query_one(self, sql: str, params: Params = None) -> Row | None:
        """The first row, or None."""
        rows = self.query(sql, params)
        return rows[0] if rows else None

    def insert(self, table: str, data: Mapping[str, Any]) -> Row:
        """Insert one row and return it; an empty dict if a rule or trigger prevented it."""
        rows = self.query(*statements.insert(table, self._storable(table, data)))
        return rows[0] if rows else {}

    def select(self, table: str, where: Where = None, params: Params = None) -> list[Row]:
        """Rows that match a condition: SQL (which may end in order by and limit), or a dict of columns and values."""
        return self.query(*statements.select(table, where, params))

    def update(self, table: str, data: Mapping[str, Any], where: Where, params: Params = None) -> list[Row]:
        """Update the matching rows and return them."""
        return self.query(*statements.update(table, self._storable(table, data), where, params))

    def remove(self, table: str, where: Where, params: Params = None) -> list[Row]:
        """Delete the matching rows and return them."""
        return self.query(*statements.remove(table, where, params))

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All or nothing: commits at the end of the block, rolls back on an exception. Nested: a savepoint."""
        with self._session.transaction(self._scope) as scope:
            yield Database(self._session, scope)

    @property
    def _scope(self) -> Scope:
        return self._bound_scope or self._session.current.get()

    def _storable(self, table: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Dicts and lists as jsonb, except lists for columns that are arrays."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dict of column names and values, not {type(data).__name__}")
        arrays: dict[str, str] = {}
        if any(map(parameters.is_list, data.values())):
            rows = self.query(statements.ARRAY_COLUMNS, [statements.table_name(table)])
            arrays = {row["attname"]: row["element"] for row in rows}
        return {
            name: parameters.listed(value, arrays.get(name)) if parameters.is_list(value) else parameters.plain(value)
            for name, value in data.items()
        }

    queryOne = query_one  # the JavaScript spelling
