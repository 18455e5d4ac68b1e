"""Members of a project, and invitations."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from api.auth.credentials import CallerRequest, require_role, role
from api.auth.tokens import new_secret_token, token_hash
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import not_found
from api.management.models.projects import (
    InvitationDetails,
    InvitationToCreate,
    MemberChange,
    MemberDetails,
    NewInvitationDetails,
)
from sql import people

INVITATION_PREFIX = "zi"
UserId = Annotated[UUID, PathParameter(description="Id of the person.")]
InvitationId = Annotated[UUID, PathParameter(description="Id of the invitation.")]


@get("/members", operation_id="listMembers", summary="List members", responses=problems(422))
async def list_members(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[MemberDetails]:
    """Ordered by e-mail address."""
    after, project_id = read_cursor(cursor, str, ""), request.user.project_id
    found = await database.read(lambda c: people.list_members(c, project_id, after, limit + 1))
    return Page[MemberDetails].of(found, limit, MemberDetails.model_validate, lambda member: member.email.lower())


@patch(
    "/members/{id:uuid}",
    operation_id="updateMember",
    summary="Change a member's role",
    guards=[role("owner")],
    responses=problems(403, 404, 409, 422),
)
async def update_member(
    request: CallerRequest, database: NamedDependency[Database], id: UserId, data: JSONBody[MemberChange]
) -> MemberDetails:
    """Applies from the member's next request on. The last owner cannot be demoted."""
    project_id = request.user.project_id
    async with database.changing(request.user.project_id) as connection:
        await people.change_member(connection, project_id, id, data.role)
    member = await database.read(lambda c: people.find_member(c, project_id, id))
    if member is None:
        raise not_found("member", id)
    return MemberDetails.model_validate(member)


@delete("/members/{id:uuid}", operation_id="removeMember", summary="Remove a member", responses=problems(403, 404, 409))
async def remove_member(request: CallerRequest, database: NamedDependency[Database], id: UserId) -> None:
    """Applies from the member's next request on. Owners can remove anyone but the last owner; members, themselves."""
    if id != request.user.user_id:
        require_role(request.user.role, "owner")
    async with database.changing(request.user.project_id) as connection:
        if not await people.remove_member(connection, request.user.project_id, id):
            raise not_found("member", id)


@get("/invitations", operation_id="listInvitations", summary="List invitations", responses=problems(422))
async def list_invitations(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[InvitationDetails]:
    """Open invitations, ordered by e-mail address."""
    after, project_id = read_cursor(cursor, str, ""), request.user.project_id
    found = await database.read(lambda c: people.list_invitations(c, project_id, after, limit + 1))
    return Page[InvitationDetails].of(
        found, limit, InvitationDetails.model_validate, lambda invitation: invitation.email.lower()
    )


@post(
    "/invitations",
    operation_id="invite",
    summary="Create an invitation",
    guards=[role("owner")],
    responses=problems(403, 409, 422),
)
async def invite(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[InvitationToCreate]
) -> NewInvitationDetails:
    """Good for a week, in place of an earlier one. Give the person the token: `zmesh login --invitation` takes it."""
    token = new_secret_token(INVITATION_PREFIX)
    async with database.changing(request.user.project_id) as connection:
        invitation = await people.invite(
            connection, request.user.project_id, data.email, data.role, token_hash(token), request.user.person
        )
    known = InvitationDetails.model_validate(invitation)
    return NewInvitationDetails(**known.model_dump(), token=token)


@delete(
    "/invitations/{id:uuid}",
    operation_id="withdrawInvitation",
    summary="Withdraw an invitation",
    guards=[role("owner")],
    responses=problems(403, 404),
)
async def withdraw(request: CallerRequest, database: NamedDependency[Database], id: InvitationId) -> None:
    """Its token is good for nothing from then on."""
    async with database.changing(request.user.project_id) as connection:
        if not await people.withdraw_invitation(connection, request.user.project_id, id):
            raise not_found("invitation", id)


router = Router(
    "/",
    route_handlers=[list_members, update_member, remove_member, list_invitations, invite, withdraw],
    guards=[role("viewer")],
    security=BEARER,
    tags=["members"],
)
