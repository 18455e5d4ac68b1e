"""Logging in, staying logged in, logging out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt

from tests.api.client import JWT_KEY, PASSWORD, Api, new_token, refused

NEW_PASSWORD = "tea and a long walk"


def email_of(api: Api) -> str:
    email: str = api.database.value("select email from zmesh.users where id = %s", api.user_id)
    return email


def post(api: Api, path: str, **body: Any) -> httpx.Response:
    return api.client.post(f"{api.url}{path}", json=body)


def log_in(api: Api) -> dict[str, Any]:
    answer = post(api, "/auth/login", email=email_of(api), password=PASSWORD, project=str(api.project.id))
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def works(api: Api, token: str) -> bool:
    return api.call("GET", "/functions", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_a_login_gives_a_token_of_minutes_and_a_refresh_token_that_is_stored_hashed(api: Api) -> None:
    session = log_in(api)
    lifetime = datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=10) < lifetime <= timedelta(minutes=15)
    assert works(api, session["token"])
    [stored] = api.database.rows(
        "select t.* from zmesh.refresh_tokens t join zmesh.sessions s on s.id = t.session_id where s.user_id = %s",
        api.user_id,
    )
    assert session["refresh_token"].encode() not in bytes(stored["hash"])
    assert len(stored["hash"]) == 32


def test_a_refresh_token_is_exchanged_for_the_next_one(api: Api) -> None:
    first = log_in(api)
    second = post(api, "/auth/refresh", refresh_token=first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert works(api, first["token"])
    assert works(api, second["token"])
    assert post(api, "/auth/refresh", refresh_token=second["refresh_token"]).status_code == 200


def test_a_refresh_token_that_comes_twice_ends_the_session_with_all_its_tokens(api: Api) -> None:
    session = log_in(api)
    thiefs = post(api, "/auth/refresh", refresh_token=session["refresh_token"]).json()
    refused(post(api, "/auth/refresh", refresh_token=session["refresh_token"]), 401, "session_ended")
    refused(post(api, "/auth/refresh", refresh_token=thiefs["refresh_token"]), 401, "session_ended")
    for token in (session["token"], thiefs["token"]):
        bearer = {"authorization": f"Bearer {token}"}
        refused(api.call("GET", "/functions", headers=bearer), 401, "session_ended")
    assert works(api, log_in(api)["token"])


def test_logging_out_ends_the_session_and_no_other(api: Api) -> None:
    here, elsewhere = log_in(api), log_in(api)
    assert post(api, "/auth/logout", refresh_token=here["refresh_token"]).status_code == 204
    assert not works(api, here["token"])
    refused(post(api, "/auth/refresh", refresh_token=here["refresh_token"]), 401, "session_ended")
    assert works(api, elsewhere["token"])
    assert post(api, "/auth/logout", refresh_token=here["refresh_token"]).status_code == 204


def test_an_unknown_or_old_refresh_token_is_refused(api: Api) -> None:
    refused(post(api, "/auth/refresh", refresh_token="zr_guess"), 401, "invalid_refresh_token")
    session = log_in(api)
    api.database.rows(
        "update zmesh.sessions set created_at = now() - interval '31 days', expires_at = now() where user_id = %s",
        api.user_id,
    )
    refused(post(api, "/auth/refresh", refresh_token=session["refresh_token"]), 401, "session_ended")
    assert not works(api, session["token"])


def test_a_refresh_may_be_for_another_project_of_the_person(api: Api, stranger: Api) -> None:
    session = log_in(api)
    other = str(stranger.project.id)
    refused(post(api, "/auth/refresh", refresh_token=session["refresh_token"], project=other), 403, "not_a_member")
    api.database.rows(
        "insert into zmesh.memberships (user_id, project_id, role) values (%s, %s, 'viewer')",
        api.user_id,
        stranger.project.id,
    )
    moved = post(api, "/auth/refresh", refresh_token=session["refresh_token"], project=other).json()
    assert moved["project_id"] == other
    assert works(api, moved["token"])


def test_a_session_is_good_for_its_person_only(api: Api, stranger: Api) -> None:
    claims = jwt.decode(log_in(api)["token"], options={"verify_signature": False})
    forged = {**claims, "sub": str(stranger.user_id), "project": str(stranger.project.id)}
    assert not works(stranger, jwt.encode(forged, JWT_KEY))
    assert not works(api, jwt.encode({**claims, "sid": str(uuid4())}, JWT_KEY))
    assert works(api, new_token(api.user_id, api.project.id))  # one that no login gave out


def test_a_changed_password_ends_every_session(api: Api) -> None:
    session = log_in(api)
    hash = api.database.value("select password_hash from zmesh.users where id = %s", api.user_id)
    assert api.database.value("select zmesh.set_password(%s, %s)", api.user_id, hash)
    assert not works(api, session["token"])
    refused(post(api, "/auth/refresh", refresh_token=session["refresh_token"]), 401, "session_ended")


def test_a_new_password_ends_all_sessions_and_begins_one(api: Api) -> None:
    before = log_in(api)
    change = {"email": email_of(api), "password": PASSWORD, "new_password": NEW_PASSWORD}
    session = post(api, "/auth/password", **change, project=str(api.project.id)).json()
    assert works(api, session["token"])
    assert not works(api, before["token"])
    refused(post(api, "/auth/login", email=email_of(api), password=PASSWORD), 401, "invalid_login")
    assert post(api, "/auth/login", email=email_of(api), password=NEW_PASSWORD).status_code == 200


def test_a_password_is_not_changed_with_a_wrong_or_short_one(api: Api) -> None:
    session = log_in(api)
    wrong = {"email": email_of(api), "password": "wrong", "new_password": NEW_PASSWORD}
    refused(post(api, "/auth/password", **wrong), 401, "invalid_login")
    short = {"email": email_of(api), "password": PASSWORD, "new_password": "short"}
    refused(post(api, "/auth/password", **short), 422, "invalid_input", "new_password")
    elsewhere = {"email": email_of(api), "password": PASSWORD, "new_password": NEW_PASSWORD, "project": str(uuid4())}
    refused(post(api, "/auth/password", **elsewhere), 403, "not_a_member")
    assert works(api, session["token"])
    assert log_in(api)
