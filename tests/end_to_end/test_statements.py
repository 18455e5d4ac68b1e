"""What a call costs the database, in statements as the server counts them."""

from __future__ import annotations

from tests.databases import Database
from tests.platform import Parts

CALLS = 60
CODE = "def handler(payload, zmesh):\n    return payload\n"
COUNTED = """
select r.rolname || ': ' || s.query as statement, s.calls
  from pg_stat_statements s
  join pg_roles r on r.oid = s.userid
  join pg_database d on d.oid = s.dbid
 where d.datname = current_database() and s.toplevel and r.rolname in ('zmesh_api', 'zmesh_listener')
"""


def test_a_call_is_admitted_claimed_and_finished_by_one_statement_each(database: Database, own_parts: Parts) -> None:
    """Besides, there is what is done every so often, however many calls there are."""
    database.rows("create extension pg_stat_statements")
    platform = own_parts.platform
    own_parts.start_listener()
    platform.deploy("greet", CODE)
    for _ in range(10):  # its key is seen to be used, statements are prepared
        platform.result("greet")
    database.rows("select pg_stat_statements_reset()")
    for number in range(CALLS):
        assert platform.result("greet", {"n": number}) == {"n": number}
    counted = {row["statement"]: row["calls"] for row in database.rows(COUNTED)}
    per_call = {statement: calls for statement, calls in counted.items() if calls >= CALLS / 2}
    words = ("insert into zmesh.invocations", "zmesh.claim_round(", "zmesh.finish(")
    found = [[calls for statement, calls in per_call.items() if word in statement] for word in words]
    assert len(per_call) == 3, per_call
    [[inserts], [claims], [finishes]] = found
    assert inserts == finishes == CALLS
    assert CALLS <= claims < CALLS * 1.5  # and one a second while nothing comes
