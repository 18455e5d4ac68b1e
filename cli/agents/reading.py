"""Tools that only read."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from cli.client import ApiError, Client
from cli.connecting import find_function
from cli.errors import CliError

Data = Mapping[str, Any]
PAGE_OF_FILE = 20_000  # characters
LINES_OF_LOG = 200
MOST_ITEMS = 100
IN_LIST = (
    *("name", "slug", "language", "version", "enabled", "description", "tags", "timeout_ms", "memory_mb", "auth"),
    *("network", "updated_at"),
)
HIDDEN = ("code", "files", "env_vars", "project_id")  # shown in another way, or of no use
OF_INVOCATION = (
    *("id", "function", "status", "source", "version", "attempt", "max_attempts", "created_at", "started_at"),
    *("finished_at", "duration_ms", "peak_memory_mb"),
)
MORE_OF_INVOCATION = ("queue_ms", "cpu_ms", "payload", "result", "response", "error", "earlier_attempts")

FunctionName = Annotated[str, Field(min_length=1, max_length=100, description="Name or slug of the function.")]
AnyFunction = Annotated[str, Field(max_length=100, description="Name or slug of a function; empty: all of them.")]
Status = Literal["", "queued", "running", "success", "error", "timeout", "cancelled"]
Limit = Annotated[int, Field(ge=1, le=MOST_ITEMS, description="How many.")]
Cursor = Annotated[str, Field(max_length=500, description="next_cursor of the previous answer; empty: the start.")]
Version = Annotated[int, Field(ge=0, le=2**31 - 1, description="Number of the version; 0: the current one.")]


class Reader:
    """What an agent may look at."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list_functions(
        self,
        tag: Annotated[str, Field(max_length=50, description="Only functions with this tag; empty: all.")] = "",
        cursor: Cursor = "",
    ) -> Data:
        """List the functions of the project, with their main settings and without their code."""
        page = self._page("/functions", code="false", limit=MOST_ITEMS, tag=tag, cursor=cursor)
        return {**page, "items": [_some(function, IN_LIST) for function in page["items"]]}

    def read_function(self, name: FunctionName) -> Data:
        """Read a function: settings, names of its variables and secrets (never their values), files, code.

        Long code is cut; read_file gives all of it in pages.
        """
        function = find_function(self._client, name)
        settings = {key: value for key, value in function.items() if key not in HIDDEN}
        own = self._client.items(f"/functions/{function['id']}/secrets")
        return {
            **settings,
            "variables": sorted(function["env_vars"]),
            "secrets": sorted({secret["name"] for secret in (*own, *self._client.items("/secrets"))}),
            "code": function["code"],
        }

    def read_file(
        self,
        name: FunctionName,
        path: Annotated[str, Field(max_length=255, description="Path of the file; empty: the entry file.")] = "",
        version: Version = 0,
        first_line: Annotated[int, Field(ge=1, description="Line to begin with.")] = 1,
    ) -> Data:
        """Read a file of a function as it is now or was in a version, in pages: next_line tells where to go on."""
        function = find_function(self._client, name)
        found = function
        if version:
            found = self._client.call("GET", f"/functions/{function['id']}/versions/{version}").body
        path = path or found["entry_file"] or ""
        files = found["files"] or {"": found["code"]}
        if path not in files:
            known = f"Its files: {', '.join(sorted(files)[:50])}" if found["files"] else "It is a single file: no path."
            raise CliError(f'{function["slug"]} has no file "{path}".', code="file_not_found", hint=known)
        if not isinstance(files[path], str):
            return {"path": path, "version": found["version"], "binary": True}
        return {"path": path, "version": found["version"], **page_of(files[path], first_line)}

    def list_versions(self, name: FunctionName, cursor: Cursor = "") -> Data:
        """List the versions of a function, newest first."""
        function = find_function(self._client, name)
        page = self._page(f"/functions/{function['id']}/versions", limit=20, cursor=cursor)
        keys = ("version", "current", "created_at", "message", "language", "entry_point", "file_sizes", "retired_at")
        return {**page, "items": [_some(version, keys) for version in page["items"]]}

    def compare_versions(
        self,
        name: FunctionName,
        after: Version = 0,
        before: Annotated[int, Field(ge=0, description="Version to compare with; 0: the one before it.")] = 0,
    ) -> Data:
        """Compare two versions of a function: settings, packages, and the code as a unified diff."""
        function = find_function(self._client, name)
        return differences(self._client, function, after or function["version"], before)

    def list_invocations(
        self,
        function: AnyFunction = "",
        status: Annotated[Status, Field(description="Only invocations with this status; empty: any.")] = "",
        error: Annotated[str, Field(max_length=200, description="Only those with this text in their error.")] = "",
        limit: Limit = 20,
        cursor: Cursor = "",
    ) -> Data:
        """List invocations, newest first, without payloads, results and logs: read_invocation has those."""
        id = find_function(self._client, function)["id"] if function else ""
        page = self._page(
            "/invocations", logs="false", function=id, status=status, error=error, limit=limit, cursor=cursor
        )
        return {**page, "items": [{**_some(one, OF_INVOCATION), "error": _error(one)} for one in page["items"]]}

    def read_invocation(self, id: Annotated[UUID, Field(description="Id of the invocation.")]) -> Data:
        """Read an invocation: payload, result or error with its stack, earlier attempts, and the end of its log."""
        return invocation(self._client, str(id))

    def read_logs(
        self,
        function: FunctionName,
        limit: Annotated[int, Field(ge=1, le=20, description="How many invocations.")] = 5,
    ) -> Data:
        """Read what the latest invocations of a function printed, newest invocation first."""
        id = find_function(self._client, function)["id"]
        page = self._page(f"/functions/{id}/invocations", limit=limit)
        return {"items": [{**_some(one, OF_INVOCATION), "error": _error(one), **_log(one)} for one in page["items"]]}

    def list_schedules(self, function: AnyFunction = "") -> Data:
        """List schedules: cron expression, time zone, payload, and when each is due next."""
        id = find_function(self._client, function)["id"] if function else ""
        keys = ("name", "function", "cron", "timezone", "payload", "overlap", "missed", "enabled", "next_due_at")
        found = (one for one in self._client.items("/schedules") if id in ("", one["function_id"]))
        return {"items": [_some(one, keys) for one in islice(found, MOST_ITEMS)]}

    def _page(self, path: str, **query: Any) -> dict[str, Any]:
        given = {key: value for key, value in query.items() if value != ""}
        return dict(self._client.call("GET", f"{path}?{urllib.parse.urlencode(given)}").body)


def differences(client: Client, function: Data, after: int, before: int) -> dict[str, Any]:
    """What differs between two versions, diffs as lists of lines."""
    query = f"?before={before}" if before else ""
    found = dict(client.call("GET", f"/functions/{function['id']}/versions/{after}/diff{query}").body)
    files = {
        path: {**change, "diff": (change["diff"] or "").splitlines()} for path, change in found.pop("files").items()
    }
    return {**found, "code": found["code"].splitlines(), "files": files}


def invocation(client: Client, id: str) -> dict[str, Any]:
    """An invocation with the end of its log."""
    found = client.call("GET", f"/invocations/{id}").body
    found["response"] = found["response"] and _readable(found["response"])
    more = {key: found[key] for key in MORE_OF_INVOCATION if found[key] not in (None, [])}
    return {**_some(found, OF_INVOCATION), **more, **_would_have_changed(client, found), **_log(found)}


def live_alias(client: Client, function: Data) -> dict[str, Any]:
    """That callers get other versions than the current one, where an alias says so."""
    for alias in client.items(f"/functions/{function['id']}/aliases"):
        if alias["name"] == "live" and alias["versions"] != {str(function["version"]): 100}:
            return {"callers_get": {"alias": "live", "versions": alias["versions"]}}
    return {}


def _readable(response: Data) -> dict[str, Any]:
    """A response with its body as text, where it is text."""
    body = base64.b64decode(response.get("body_base64") or "")
    try:
        shown = body.decode()
    except UnicodeDecodeError:
        shown = f"{len(body):,} bytes, not text"
    return {"status": response["status"], "headers": response["headers"], "body": shown}


def _would_have_changed(client: Client, invocation: Data) -> dict[str, Any]:
    """The rows of a dry run; nothing of any other run."""
    if (invocation["version"] or 0) >= 0:  # dry runs are of drafts
        return {}
    try:
        return {"would_have_changed": client.call("GET", f"/invocations/{invocation['id']}/changes").body}
    except ApiError as error:
        if error.code not in ("no_changes", "forbidden"):
            raise
        return {}


def _log(invocation: Data) -> dict[str, Any]:
    lines = [f"{line['at']} {line['level']} {line['message']}" for line in invocation["logs"]]
    left_out = invocation["logs_truncated"] or len(lines) > LINES_OF_LOG
    return {"log": lines[-LINES_OF_LOG:], **({"log_has_earlier_lines": True} if left_out else {})}


def _error(invocation: Data) -> dict[str, Any] | None:
    """Without its stack, of which a list would have many."""
    error = invocation["error"]
    return error and {"type": error["type"], "message": error["message"]}


def _some(data: Data, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: data[key] for key in keys}


def page_of(text: str, first_line: int) -> dict[str, Any]:
    """Lines from this one on, as many as fit; at least one."""
    lines, page, size = text.splitlines(keepends=True), list[str](), 0
    for line in lines[first_line - 1 :]:
        size += len(line)
        if page and size > PAGE_OF_FILE:
            break
        page.append(line)
    end = first_line + len(page)
    return {"lines": len(lines), "next_line": end if end <= len(lines) else None, "text": "".join(page)}
