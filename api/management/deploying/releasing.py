"""What a deployment does with the version that it made of a function."""

from __future__ import annotations

from psycopg import AsyncConnection

from api.management.deploying.functions import DeployedFunction
from sql import deployments, versions
from sql.catalog import Function

LIVE = "live"  # the alias that applies where a call names no version


async def release(
    connection: AsyncConnection, deployed: DeployedFunction, message: str, share: int | None = None
) -> None:
    """Keep what is said about a new version, and give it this percentage of the calls, in the transaction that made
    it. Nothing where the deployment made none."""
    before, after = deployed.before, deployed.after
    if before is not None and before.version == after.version:
        return
    if message:
        await deployments.set_message(connection, after.id, after.version, message)
    if before is not None and share is not None:
        await _roll_out(connection, before, after.version, share)


async def _roll_out(connection: AsyncConnection, before: Function, version: int, share: int) -> None:
    """The version that gets most of the calls keeps the rest of them."""
    live = await versions.find_alias(connection, before.id, LIVE)
    if live is None and share == 100:
        return
    shares = {before.version: 100} if live is None else {int(number): part for number, part in live.shares.items()}
    if share > 0:
        kept = max(shares, key=lambda number: (shares[number], number))
        shares = {number: part for number, part in ((kept, 100 - share), (version, share)) if part}
    await versions.set_alias(connection, before.id, LIVE, shares)
