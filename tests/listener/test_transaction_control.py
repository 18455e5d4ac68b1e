"""No text that PostgreSQL would understand as the end of a transaction passes."""

from __future__ import annotations

import random
import time

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from listener.transaction_control import ends_transaction
from tests.databases import Database

PIECES = [
    *(
        "commit",
        "COMMIT",
        "end",
        "rollback",
        "abort",
        "prepare transaction 'x'",
        "commit and chain",
        "commit prepared 'x'",
    ),
    *("work", "transaction", "to savepoint a", "to a", "and no chain", "savepoint a", "release a", "begin", "select 1"),
    *(";", ";", ";", " ", "\n", "\t", "\r", "\f", "--", "-- x\n", "/*", "*/", "/* x */", "/*/**/*/"),
    *("'", "''", "E'", "\\", '"', "$$", "$a$", "U&'", "(", ")", "case when true then 1", "do $$ begin", "$$"),
    *("commit;", ";commit", "end;", "; end", "; rollback", "select ';", "' ; commit"),
]


@pytest.mark.parametrize(
    "text",
    [
        *("commit", " Commit ;", "end", "END TRANSACTION", "abort", "rollback", "rollback work", "commit and chain"),
        *("select 1; commit", "select 1;\n\t-- no\r/* /* nested */ */ commit/**/work", "prepare transaction 'x'"),
        *(";;;end", "select ';'; abort--", "commit/*", "rollback prepared 'x'", "select 1;--\n--\ncommit"),
    ],
)
def test_ends_are_found(text: str) -> None:
    assert ends_transaction(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ";",
            "select 1",
            "select case when true then 1 end",
            "rollback to a",
            "rollback to savepoint a; select 1",
        ),
        *("insert into t values ('we commit; and then')", "commits", "prepare x as select 1", "select 1 as commit"),
        *("do $$ begin perform 1; end $$", "-- commit", "/* ; */ select 1", "begin", "release savepoint a"),
    ],
)
def test_other_statements_pass(text: str) -> None:
    assert not ends_transaction(text.encode())


def test_what_passes_leaves_the_transaction_open(database: Database) -> None:
    """Texts are made at random; those that pass are tried. Their errors do not matter."""
    chance = random.Random(4711)
    passed = 0
    with psycopg.connect(database.project().url, autocommit=True) as connection:
        for scs in ("on", "off"):
            connection.execute(f"set standard_conforming_strings = {scs}".encode())
            connection.execute("begin; savepoint base")
            for _ in range(1500):
                text = "".join(chance.choices(PIECES, k=chance.randint(1, 9))).encode()
                if ends_transaction(text):
                    continue
                passed += 1
                connection.pgconn.exec_(text)
                assert connection.pgconn.transaction_status != TransactionStatus.IDLE, text
                connection.execute("rollback to base")
            connection.execute("rollback")
    assert passed > 500


@pytest.mark.parametrize("unit", [";/*", ";/**/", "; ", ";--\n", "/*", ";/*/*"])
def test_no_text_takes_long(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * (length // len(unit))).encode()
        began = time.thread_time()
        ends_transaction(text)
        return time.thread_time() - began

    seconds(1024)
    assert seconds(256 * 1024) < 0.1 + 100 * seconds(16 * 1024)  # 16 times as much: 256 times if it were quadratic
