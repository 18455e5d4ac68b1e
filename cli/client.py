"""A small client of the HTTP API. It is urllib's, which starts in a sixth of the time of the larger libraries."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from typing import Any

from cli.config import Connection, claims_of, locked, read_json, write_private_json
from cli.errors import CliError
from cli.waiting import moving

Json = Any
REQUEST_SECONDS = 60
RECONNECT_SECONDS = 1.0
RECONNECTIONS = 30
INVALID_KEYS = ("invalid_api_key", "api_key_revoked", "api_key_expired")
PAGE = 100


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is not a problem of the platform. `body` is decoded JSON where it was JSON, else bytes.

    `invocation_id` tells that a function answered, well or badly.
    """

    status: int
    body: Json
    invocation_id: str | None


class ApiError(CliError):
    """The platform refused or failed; `status` is that of the response."""

    def __init__(self, status: int, message: str, *, code: str, hint: str = "", place: str = "") -> None:
        super().__init__(message, code=code, hint=hint, place=place)
        self.status = status


class Client:
    """Calls the API of one connection; a token that ran out is renewed where the credentials are at hand."""

    def __init__(self, connection: Connection, project: str | None = None) -> None:
        """`project` is the id or slug of the one to work in, where that is not the token's. Raises CliError."""
        _check_address(connection.url)
        self.connection = connection
        self.project = project
        self._project_token: str | None = None

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        headers: dict[str, str] | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> Response:
        """Send as the logged-in user, or with the API key where there is no user; a body of bytes is sent unchanged.
        Raises CliError."""
        can_renew = self._can_renew()
        if not self.connection.token and not can_renew and self.connection.api_key:
            return self._call_with_key_only(method, path, body, headers, seconds)
        if not self.connection.token and not can_renew:
            raise CliError(
                f"No token for {self.connection.url}.",
                code="not_logged_in",
                hint="Run `zmesh login`, set ZMESH_TOKEN, or work in the folder where `zmesh dev` was started.",
            )
        if not self.connection.token:
            self._renew()
        try:
            return self._send_as_user(method, path, body, headers, seconds)
        except ApiError as error:
            if error.status != http.client.UNAUTHORIZED or not can_renew:
                raise
            self._renew()
            self._project_token = None
            return self._send_as_user(method, path, body, headers, seconds)

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a person's token, or what gets one."""
        return bool(self.connection.token) or self._can_renew()

    def _can_renew(self) -> bool:
        return bool(self.connection.credentials or self.connection.refresh_token)

    def _call_with_key_only(
        self, method: str, path: str, body: Json, headers: dict[str, str] | None, seconds: float
    ) -> Response:
        try:
            return self.call_with_key(method, path, body, headers=headers, seconds=seconds)
        except ApiError as error:
            if error.code not in ("missing_credentials", "wrong_key_scope"):
                raise
            can = "can only invoke functions" if error.code == "wrong_key_scope" else "cannot do this"
            raise CliError(
                f"An API key {can}; this command requires the token of a user.",
                code="not_logged_in",
                hint="Run `zmesh login` and leave the API key out, or set ZMESH_TOKEN."
                + (" To deploy from CI, use a key of the scope deploy." if error.code == "wrong_key_scope" else ""),
            ) from error

    def call_with_key(
        self, method: str, path: str, body: Json = None, *, headers: dict[str, str] | None = None, seconds: float
    ) -> Response:
        """Send with the API key."""
        if self.project is not None:
            raise CliError(
                "An API key belongs to one project.", code="bad_option", hint="Leave out --project, or use a token."
            )
        return self._send(method, path, body, {"x-api-key": self.connection.api_key or "", **(headers or {})}, seconds)

    def call_anonymously(self, method: str, path: str, body: Json = None) -> Response:
        """Send without credentials."""
        return self._send(method, path, body, {}, REQUEST_SECONDS)

    def project_id(self) -> str:
        """The project that calls go to."""
        self.call("GET", "/projects?limit=1")  # renews a token that ran out
        claims = claims_of(self.token() or "")
        if claims is None:
            raise CliError("The token has no project.", code="bad_token", hint="Pass --project, or log in again.")
        return claims[1]

    def items(self, path: str, **query: Any) -> Iterator[Json]:
        """Every item of a list, page after page."""
        while True:
            page = self.call("GET", f"{path}?{urllib.parse.urlencode({'limit': PAGE, **query})}").body
            yield from page["items"]
            if not page["next_cursor"]:
                return
            query["cursor"] = page["next_cursor"]

    def events(self, path: str) -> Iterator[tuple[str, Json]]:
        """Server-sent events, by name and data, up to the one named end; a lost connection is taken up again."""
        self.call("GET", path)  # says what is wrong, and renews the token
        last, failures = "", 0
        while True:
            try:
                for name, id, data in self._stream(path, last):
                    last, failures = id, 0
                    yield name, data
                    if name == "end":
                        return
            except (OSError, http.client.HTTPException) as error:
                if failures >= RECONNECTIONS:
                    raise self._unreachable(error) from error
            failures += 1
            time.sleep(RECONNECT_SECONDS)

    def live(self, path: str, on_open: Callable[[], None]) -> Iterator[tuple[str, Json]]:
        """Server-sent events that have no end, until the connection is lost. Raises CliError."""
        self.call("GET", "/projects?limit=1")  # renews the token
        try:
            for name, _, data in self._stream(path, "", on_open):
                yield name, data
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _stream(
        self, path: str, last: str, on_open: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, str, Json]]:
        headers = {"Authorization": f"Bearer {self.token()}", "Accept": "text/event-stream", "Last-Event-ID": last}
        request = urllib.request.Request(self.connection.url + path, headers=headers)
        try:
            with _opener(request.host).open(request, timeout=REQUEST_SECONDS) as answer:
                on_open()
                yield from _events(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                response_of(answer.code, answer.headers, answer.read())

    def log_in(self, credentials: dict[str, str]) -> Json:
        """Token, time of expiry and project for an address and password."""
        return self.call_anonymously("POST", "/auth/login", credentials).body

    def switch_project(self, project_id: str | None) -> None:
        """Work in another project from now on; None is the oldest one. Raises CliError where no login was stored."""
        if not self.connection.refresh_token:
            raise CliError(
                "Only a session of `zmesh login` can switch projects.",
                code="not_logged_in",
                hint="Run `zmesh login --project …` in a folder without a .zmesh, or set ZMESH_TOKEN.",
            )
        self._refresh(project_id)

    def _renew(self) -> None:
        if self.connection.refresh_token:
            self._refresh(self.connection.project_id)
            return
        self.connection.token = self.log_in(self.connection.credentials)["token"]
        path = self.connection.file
        if path is not None and (stored := read_json(path)) is not None:
            write_private_json(path, {**stored, "token": self.connection.token})

    def _refresh(self, project_id: str | None) -> None:
        path = self.connection.file
        assert path is not None
        with locked(path):
            stored = read_json(path) or {}
            if stored.get("token") == self.connection.token or project_id != self.connection.project_id:
                body = {"refresh_token": stored.get("refresh_token"), "project": project_id}
                stored |= self.call_anonymously("POST", "/auth/refresh", body).body
                write_private_json(path, stored)
            self.connection.token = stored["token"]  # perhaps another command has just renewed it

    def _send_as_user(
        self, method: str, path: str, body: Json, headers: dict[str, str] | None, seconds: float
    ) -> Response:
        authorization = {"Authorization": f"Bearer {self.token()}"}
        return self._send(method, path, body, {**authorization, **(headers or {})}, seconds)

    def token(self) -> str | None:
        """The token of the project to work in."""
        if self.project is None:
            return self.connection.token
        if self._project_token is None:
            headers = {"Authorization": f"Bearer {self.connection.token}"}
            switched = self._send("POST", "/auth/switch", {"project": self.project}, headers, REQUEST_SECONDS).body
            self._project_token = switched["token"]
        return self._project_token

    def _send(self, method: str, path: str, body: Json, headers: dict[str, str], seconds: float) -> Response:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        try:
            return response_of(*self._exchange(method, path, data, headers, seconds))
        except ApiError as error:
            error.hint = self._other_credentials(error.code) or error.hint
            raise

    def _other_credentials(self, code: str) -> str:
        """The hint that says how to replace credentials that are no longer valid."""
        profile = self.connection.profile
        where = f" --profile {profile} --url {self.connection.url}" if profile else ""
        if code in INVALID_KEYS:
            store = f"Store another key: zmesh login --with-key{where}"
            return store if profile else "Use another key. An owner creates one: zmesh keys create NAME"
        return f"Log in again: zmesh login{where}" if profile and is_of_session(code) else ""

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], seconds: float
    ) -> tuple[int, Message, bytes]:
        """Status, headers and body that one request is answered with. Raises CliError."""
        try:
            request = urllib.request.Request(f"{self.connection.url}{path}", data, headers, method=method)
            with (
                moving(f"waiting for {request.host}"),
                _opener(request.host).open(request, timeout=seconds) as answer,
            ):
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers, answer.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> CliError:
        if isinstance(error, UnicodeEncodeError):  # of a header: a placeholder such as zb_… was copied
            return CliError(
                f"The API key or token contains {error.object[error.start]!r}, which no key or token has.",
                code="bad_credentials",
                hint="Copy it again: zb_… in an example stands for your own key.",
            )
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            reason = "timed out"
        return CliError(
            f"Cannot reach zMesh at {self.connection.url}: {reason}.",
            code="unreachable",
            hint="Start it with `zmesh dev`, or pass another address with --url or ZMESH_URL.",
        )


def _check_address(url: str) -> None:
    address = urllib.parse.urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CliError(
            f'The address of zMesh is invalid: "{url}".',
            code="bad_url",
            hint="Set --url or ZMESH_URL to a URL such as http://127.0.0.1:8700, or log in again.",
        )


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str, Json]]:
    """Name, id and data of each event of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.decode().rstrip("\r\n").partition(": ")
        if separator and name:
            fields[name] = value
        elif "data" in fields:
            yield fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"])
            fields = {}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Uses the environment's proxy, except for this machine's own addresses."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    is_local = name == "localhost" or name.startswith("127.") or name == "::1"
    return urllib.request.build_opener(_NoRedirects, *([urllib.request.ProxyHandler({})] if is_local else []))


def response_of(status: int, headers: Message, raw: bytes) -> Response:
    """An answer of a function or the platform. Raises ApiError."""
    content_type, invocation_id = headers.get_content_type(), headers.get("X-Zmesh-Invocation-Id")
    body: Json = raw
    if content_type == "application/json" or content_type.endswith("+json"):
        with suppress(ValueError):
            body = json.loads(raw)
    if content_type == "application/problem+json" and isinstance(body, dict):
        raise _problem(status, body)
    if status >= http.client.MULTIPLE_CHOICES and invocation_id is None:
        raise ApiError(
            status,
            f"The server responded with {status} ({http.client.responses.get(status, 'unknown')}).",
            code="unexpected_answer",
            hint="Is this the address of a zMesh API?",
        )
    return Response(status, body, invocation_id)


def is_of_session(code: str) -> bool:
    """Whether an error says that a person has to log in."""
    return code.startswith("token_") or code in ("session_ended", "invalid_refresh_token")


def _problem(status: int, body: dict[str, Json]) -> ApiError:
    message = str(body.get("detail") or body.get("title") or status)
    code, hint = str(body.get("code") or "unknown"), str(body.get("hint") or "")
    if is_of_session(code):
        hint = "Run `zmesh login` again, or set ZMESH_TOKEN to a valid one."
    errors = body.get("errors") or []
    place = str(errors[0].get("message", "")) if code == "syntax_error" and errors else ""
    return ApiError(status, message, code=code, hint=hint, place=place)
