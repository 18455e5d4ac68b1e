"""Browsers at the console: signed in by a password or a link, with a cookie that only the console's pages can use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.api.client import PASSWORD, Api, eventually, refused, standing_in
from tests.api.test_sessions import email_of

FROM_CONSOLE = {"x-zmesh-console": "1", "sec-fetch-site": "same-origin"}


def browser(api: Api) -> httpx.Client:
    """A browser at a page of the console."""
    return httpx.Client(base_url=api.url, headers={**FROM_CONSOLE, "origin": api.url}, timeout=30)


def signed_in(api: Api) -> httpx.Client:
    client = browser(api)
    answer = client.post("/console/session", json={"email": email_of(api), "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


def slug_of(api: Api) -> str:
    slug: str = api.database.value("select slug from zmesh.projects where id = %s", api.project.id)
    return slug


def link(api: Api, **options: Any) -> str:
    answer = api.call("POST", "/auth/links", **options)
    assert answer.status_code == 201, answer.text
    path, _, token = answer.json()["path"].partition("#")
    assert path == "/signin"
    return str(token)


def by_link(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/console/session/link", json={"token": token})


def test_a_browser_signs_in_with_a_cookie_that_no_script_and_no_function_can_read(api: Api) -> None:
    client = browser(api)
    answer = client.post("/console/session", json={"email": email_of(api), "password": PASSWORD})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith("zmesh-console=zc_")
    assert {"HttpOnly", "Path=/console", "SameSite=strict"} <= set(attributes)
    assert "Secure" not in attributes  # no TLS here
    assert answer.json()["projects"] == [
        {"id": str(api.project.id), "slug": slug_of(api), "name": ANY, "role": "owner"}
    ]
    assert client.get("/console/api/functions").json()["items"] == []
    stored = api.database.rows("select hash from zmesh.browser_sessions")
    assert all(name.partition("=")[2].encode() not in bytes(row["hash"]) for row in stored)


def test_the_cookie_counts_below_the_console_only(api: Api) -> None:
    client = signed_in(api)
    cookie = {"cookie": f"zmesh-console={client.cookies['zmesh-console']}"}
    refused(client.get("/functions", headers=cookie), 401, "missing_credentials")
    for path in ("/console/api/auth/links", "/console/api/auth/switch", "/console/api/console/session"):
        refused(client.post(path, json={"project": "x"}), 404, "not_found")


def test_a_function_never_receives_the_session_cookie(api: Api) -> None:
    api.deploy()
    with standing_in(api) as jobs:
        cookie = "theme=dark; zmesh-console=zc_secret; __Secure-zmesh-console=zc_other; lang=en"
        api.invoke(json={}, headers={"cookie": cookie})
        assert "zc_" not in str(jobs[0]["request"])
        assert "theme=dark" in str(jobs[0]["request"])
        assert "lang=en" in str(jobs[0]["request"])


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},  # what the sandboxed page of a function sends
    ],
    ids=str,
)
def test_a_page_of_another_origin_cannot_use_the_cookie(api: Api, headers: dict[str, str]) -> None:
    client = signed_in(api)
    refused(client.get("/console/api/functions", headers=headers), 403, "cross_site_request")
    refused(client.post("/console/api/functions", headers=headers, json={}), 403, "cross_site_request")
    refused(client.delete("/console/session", headers=headers), 403, "cross_site_request")
    refused(
        client.post("/console/session", headers=headers, json={"email": email_of(api), "password": PASSWORD}),
        403,
        "cross_site_request",
    )


def test_a_change_needs_a_header_that_forms_cannot_send(api: Api) -> None:
    client = signed_in(api)
    del client.headers["x-zmesh-console"]
    function = {"name": "f", "language": "python", "code": "def handler(p, z): pass"}
    refused(client.post("/console/api/functions", json=function), 403, "cross_site_request")
    assert client.get("/console/api/functions").json()["items"] == []
    assert client.post("/console/api/functions", json=function, headers=FROM_CONSOLE).status_code == 201


def test_a_request_names_its_project_and_the_role_there_counts(api: Api, stranger: Api) -> None:
    api.deploy("mine")
    stranger.deploy("theirs")
    client = signed_in(api)
    there = {"x-zmesh-project": slug_of(stranger)}
    refused(client.get("/console/api/functions", headers=there), 403, "not_a_member")
    api.database.rows(
        "insert into zmesh.memberships (user_id, project_id, role) values (%s, %s, 'viewer')",
        api.user_id,
        stranger.project.id,
    )
    for options in ({"headers": there}, {"params": {"project": str(stranger.project.id)}}):
        found = client.get("/console/api/functions", **options).json()["items"]  # type: ignore[arg-type]
        assert [function["slug"] for function in found] == ["theirs"]
    refused(client.delete("/console/api/functions/theirs", headers=there), 403, "forbidden")
    refused(client.get("/console/api/functions", headers={"x-zmesh-project": "a b"}), 403, "not_a_member")


def test_signing_out_ends_the_session_of_this_browser_and_no_other(api: Api) -> None:
    here, elsewhere = signed_in(api), signed_in(api)
    cookie = {"cookie": f"zmesh-console={here.cookies['zmesh-console']}"}
    assert here.delete("/console/session").status_code == 204
    assert "zmesh-console" not in here.cookies
    refused(here.get("/console/session"), 401, "missing_credentials")
    refused(here.get("/console/api/functions", headers=cookie), 401, "session_ended")
    assert elsewhere.get("/console/session").json()["user"]["email"] == email_of(api)


def test_a_session_ends_by_expiry_and_by_a_changed_password(api: Api) -> None:
    expired, client = signed_in(api), signed_in(api)
    api.database.rows(
        "update zmesh.browser_sessions set created_at = now() - interval '8 days', expires_at = now()"
        " where hash = sha256(%s)",
        expired.cookies["zmesh-console"].encode(),
    )
    refused(expired.get("/console/session"), 401, "session_ended")
    refused(expired.get("/console/api/functions"), 401, "session_ended")
    assert client.get("/console/api/functions").status_code == 200
    api.database.value("select zmesh.set_password(id, password_hash) from zmesh.users where id = %s", api.user_id)
    refused(client.get("/console/api/functions"), 401, "session_ended")


def test_a_sign_in_link_works_once_even_for_two_at_the_same_time(api: Api) -> None:
    token = link(api)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda client: by_link(client, token), [browser(api) for _ in range(4)]))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    refused(by_link(browser(api), token), 401, "invalid_link")


def test_an_old_link_is_refused_and_only_the_newest_are_kept(api: Api) -> None:
    tokens = [link(api) for _ in range(22)]
    refused(by_link(browser(api), tokens[0]), 401, "invalid_link")
    api.database.rows(
        "update zmesh.sign_in_links set created_at = now() - interval '1 hour', expires_at = now() where user_id = %s",
        api.user_id,
    )
    refused(by_link(browser(api), tokens[-1]), 401, "invalid_link")
    client = browser(api)
    assert by_link(client, link(api)).status_code == 200
    assert client.get("/console/api/functions").status_code == 200


def test_a_browser_shares_the_session_of_the_login_that_made_its_link(api: Api) -> None:
    login = {"email": email_of(api), "password": PASSWORD}
    session = api.client.post(f"{api.url}/auth/login", json=login).json()
    bearer = {"authorization": f"Bearer {session['token']}"}
    first, second = browser(api), browser(api)
    for client in (first, second):
        assert by_link(client, link(api, headers=bearer)).status_code == 200
    assert first.delete("/console/session").status_code == 204
    assert api.call("GET", "/functions", headers=bearer).status_code == 200  # the login goes on
    unused = link(api, headers=bearer)
    api.client.post(f"{api.url}/auth/logout", json={"refresh_token": session["refresh_token"]})
    refused(second.get("/console/api/functions"), 401, "session_ended")
    refused(by_link(browser(api), unused), 401, "invalid_link")


def test_only_a_person_with_a_token_creates_links(api: Api) -> None:
    refused(api.client.post(f"{api.url}/auth/links"), 401, "missing_credentials")
    refused(api.client.post(f"{api.url}/auth/links", headers={"x-api-key": api.key}), 401, "missing_credentials")


def test_a_page_of_the_platform_cannot_run_what_a_function_answers(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        for destination in ("script", "style", "worker", "serviceworker", "iframe"):
            headers = {"sec-fetch-site": "same-origin", "sec-fetch-dest": destination}
            refused(api.invoke(json={}, headers=headers), 403, "part_of_own_page")
        for site, destination in (("same-origin", "empty"), ("cross-site", "script"), ("none", "document")):
            headers = {"sec-fetch-site": site, "sec-fetch-dest": destination}
            assert api.invoke(json={}, headers=headers).status_code == 200


def test_the_log_of_an_invocation_is_followed_with_the_cookie(api: Api) -> None:
    api.deploy()
    client = signed_in(api)
    with standing_in(api):
        id = client.post("/console/api/functions/greet/invoke", json={"payload": 1}).json()["invocation_id"]
        path = f"/console/api/invocations/{id}/logs?project={api.project.id}"
        events = eventually(
            lambda: client.get(path, headers={"accept": "text/event-stream"}).text, "the end of the stream"
        )
    assert "event: end" in events
