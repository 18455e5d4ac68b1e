"""Inserts go together, and what is wrong with one project's holds up no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from api.invoking.inserting import LARGE_BYTES, Inserts
from sql.errors import Invalid, Unavailable

Row = tuple[UUID, int]
ONE, TWO, THREE = uuid4(), uuid4(), uuid4()
BAD = 13


class Table:
    """Takes rows, all of a statement or none; those with a bad number are refused."""

    def __init__(self) -> None:
        self.statements: list[list[Row]] = []
        self.rows: list[Row] = []
        self.away = False

    async def insert(self, rows: Sequence[Row]) -> list[bool]:
        self.statements.append(list(rows))
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("gone")
        if any(number == BAD for _, number in rows):
            raise Invalid("a bad number")
        new = [row not in self.rows for row in rows]
        self.rows += rows
        return new


async def answers(inserts: Inserts[Row], *rows: Row) -> list[bool | BaseException]:
    return await asyncio.gather(*(inserts.ask(row) for row in rows), return_exceptions=True)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def inserts(table: Table) -> Inserts[Row]:
    return Inserts(table.insert, lambda row: row[0])


async def test_rows_of_all_projects_share_a_statement(table: Table, inserts: Inserts[Row]) -> None:
    rows = [(ONE, 1), (TWO, 2), (ONE, 3)]
    assert await answers(inserts, *rows) == [True] * 3
    assert table.statements == [rows]


async def test_a_small_row_does_not_wait_for_large_ones() -> None:
    release = asyncio.Event()
    done: list[int] = []

    async def insert(rows: Sequence[Row]) -> list[bool]:
        if any(number > LARGE_BYTES for _, number in rows):
            await release.wait()
        done.extend(number for _, number in rows)
        return [True] * len(rows)

    inserts = Inserts[Row](insert, lambda row: row[0], lambda row: row[1])
    large = [asyncio.create_task(inserts.ask((ONE, LARGE_BYTES + n))) for n in (1, 2)]
    await asyncio.sleep(0)

    assert await asyncio.wait_for(inserts.ask((TWO, 1)), 10)

    assert done == [1]
    release.set()
    await asyncio.gather(*large)
    assert done == [1, LARGE_BYTES + 1, LARGE_BYTES + 2]


async def test_a_refused_row_costs_other_projects_one_statement_more(table: Table, inserts: Inserts[Row]) -> None:
    rows = [(ONE, 1), *((TWO, number) for number in range(10, 20)), (THREE, 3), (ONE, 4)]
    given = await answers(inserts, *rows)
    assert [type(answer) for answer in given if answer is not True] == [Invalid]
    assert isinstance(given[1 + BAD - 10], Invalid)
    assert sorted(table.rows) == sorted(row for row in rows if row[1] != BAD)
    of_others = [statement for statement in table.statements if any(project != TWO for project, _ in statement)]
    assert of_others == [rows, [(ONE, 1), (ONE, 4)], [(THREE, 3)]]


async def test_other_projects_do_not_wait_while_rows_are_retried_one_by_one(
    table: Table, inserts: Inserts[Row]
) -> None:
    bad = [asyncio.create_task(inserts.ask((TWO, BAD))) for _ in range(50)]
    assert await inserts.ask((ONE, 1))
    assert await inserts.ask((ONE, 2))
    assert not all(task.done() for task in bad)
    assert {type(answer) for answer in await asyncio.gather(*bad, return_exceptions=True)} == {Invalid}


async def test_rows_that_may_wait_go_with_their_own_project_s_only(table: Table, inserts: Inserts[Row]) -> None:
    await asyncio.gather(*(inserts.ask((project, 1), apart=True) for project in (ONE, TWO)))
    assert table.statements == [[(ONE, 1)], [(TWO, 1)]]


async def test_an_outage_is_everybody_s_and_tried_once(table: Table, inserts: Inserts[Row]) -> None:
    table.away = True
    given = await answers(inserts, (ONE, 1), (TWO, 2))
    assert {type(answer) for answer in given} == {Unavailable}
    assert len(table.statements) == 1
