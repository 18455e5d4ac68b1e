"""The function that a member of its project, or a key, names."""

from __future__ import annotations

from api.auth.credentials import CallerRequest
from api.database import Database
from api.http.problems import not_found
from sql import catalog
from sql.catalog import Function, FunctionName


async def function_of(database: Database, request: CallerRequest, id: str) -> Function:
    """The function with this id or slug, in the caller's project, if their key is for it. Raises Problem 404."""
    name = FunctionName(request.user.project_id, id)
    function = None if "\x00" in id else await database.read(lambda c: catalog.find_function(c, name))
    if function is None or not request.user.may_see(function.id):
        raise not_found("function", id)
    return function
