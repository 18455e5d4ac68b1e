"""The secret that a project's callbacks are signed with."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.auth.credentials import CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.management.models.callbacks import NewSigningSecret, SigningRotation, SigningSecretDetails
from api.webhooks.signatures import new_secret
from sql import callbacks
from sql.callbacks import SigningSecret, signing_purpose
from support.sealing import Sealer


async def _present(database: Database, request: CallerRequest) -> SigningSecret | None:
    project_id = request.user.project_id
    return await database.read(lambda c: callbacks.find_secret(c, project_id))


@get(
    "/callbacks/secret",
    operation_id="getSigningSecret",
    summary="Read the state of the callback secret",
    responses=problems(),
)
async def get_secret(request: CallerRequest, database: NamedDependency[Database]) -> SigningSecretDetails:
    """Without the secret itself."""
    present = await _present(database, request)
    return SigningSecretDetails(
        created_at=present and present.created_at,
        previous_secret_valid_until=present and present.previous_secret_valid_until,
    )


@post(
    "/callbacks/secret/rotate",
    operation_id="rotateSigningSecret",
    summary="Rotate the callback secret",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 422),
)
async def rotate_secret(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    data: JSONBody[SigningRotation],
) -> NewSigningSecret:
    """Returns a new secret, which is not shown again. Until `previous_secret_valid_until`, callbacks are signed with
    both secrets, so that receivers can switch at any time."""
    secret, project_id = new_secret("standard"), request.user.project_id
    assert secret is not None
    sealed = sealer.seal(secret, signing_purpose(project_id))
    async with database.changing(request.user.project_id) as connection:
        await callbacks.rotate_secret(connection, project_id, sealed, data.grace_seconds)
    present = await _present(database, request)
    assert present is not None
    return NewSigningSecret(
        secret=secret,
        created_at=present.created_at,
        previous_secret_valid_until=present.previous_secret_valid_until,
    )


router = Router(
    "/", route_handlers=[get_secret, rotate_secret], guards=[role("viewer")], security=BEARER, tags=["callbacks"]
)
