"""What is Python's own about zmesh.db: asyncio tasks and threads."""

from __future__ import annotations

import pytest

from tests.sdk.conftest import Bench

pytestmark = pytest.mark.parametrize("language", ["python"], indirect=True)


def run_async(bench: Bench, body: str) -> object:
    code = "import asyncio\nasync def main():\n" + body + "\nreturn asyncio.run(main())"
    return bench.run(python=code, javascript="").result


def test_tasks_started_inside_a_transaction_belong_to_it(bench: Bench) -> None:
    result = run_async(
        bench,
        """
    async def add(name):
        zmesh.db.insert('users', {'name': name})
    try:
        with zmesh.db.transaction():
            await asyncio.gather(add('a'), asyncio.to_thread(lambda: zmesh.db.insert('users', {'name': 'b'})))
            raise ValueError
    except ValueError:
        return len(zmesh.db.select('users', 'age is null'))
""",
    )
    assert result == 0


def test_a_task_beside_a_transaction_of_the_same_thread_is_refused_rather_than_stuck(bench: Bench) -> None:
    result = run_async(
        bench,
        """
    opened, finish = asyncio.Event(), asyncio.Event()
    async def hold():
        with zmesh.db.transaction():
            opened.set()
            await finish.wait()
    async def beside():
        await opened.wait()
        try:
            zmesh.db.query('select 1')
        except Exception as error:
            return type(error).__name__
        finally:
            finish.set()
    _, outcome = await asyncio.gather(hold(), beside())
    return [outcome, zmesh.db.query_one('select 1 as n')['n']]
""",
    )
    assert result == ["TransactionError", 1]
