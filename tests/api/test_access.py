"""Who may call what."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import pytest

from api.settings import Settings
from support.settings import SettingsError, read_settings
from tests.api.client import JWT_KEY, Api, ApiProcess, eventually, new_token, refused, standing_in
from tests.api.conftest import Backend

NO_ID = "00000000-0000-4000-8000-000000000000"
READS = [
    ("GET", "/functions"),
    ("GET", "/functions/greet"),
    ("GET", "/functions/greet/versions"),
    ("GET", "/functions/greet/invocations"),
    ("GET", "/schedules"),
    ("GET", "/webhooks"),
]
WRITES = [
    ("POST", "/functions"),
    ("PATCH", "/functions/greet"),
    ("DELETE", "/functions/greet"),
    ("POST", "/functions/greet/invoke"),
    ("POST", "/functions/greet/versions/1/rollback"),
    ("POST", "/schedules"),
    ("PATCH", f"/schedules/{NO_ID}"),
    ("DELETE", f"/schedules/{NO_ID}"),
    ("POST", "/webhooks"),
    ("PATCH", f"/webhooks/{NO_ID}"),
    ("DELETE", f"/webhooks/{NO_ID}"),
    ("POST", f"/invocations/{NO_ID}/cancel"),
    ("DELETE", f"/invocations/{NO_ID}"),
]


@pytest.mark.parametrize(("method", "path"), [*READS, *WRITES, ("GET", f"/invocations/{NO_ID}")])
def test_every_endpoint_asks_for_credentials_before_it_looks_at_anything(api: Api, method: str, path: str) -> None:
    answer = api.client.request(method, api.url + path, content=b"{" if method in ("POST", "PATCH") else None)
    refused(answer, 401, "missing_credentials")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_viewer_reads_and_changes_nothing(api: Api) -> None:
    api.deploy()
    api.change_role("viewer")
    for method, path in READS:
        assert api.call(method, path).status_code == 200, path
    for method, path in WRITES:
        refused(api.call(method, path, json={}), 403, "forbidden")


def test_a_developer_manages_functions(api: Api) -> None:
    api.change_role("developer")
    api.deploy()
    assert api.call("DELETE", "/functions/greet").status_code == 204


def test_a_person_who_is_no_member_any_more_is_refused_at_once(api: Api) -> None:
    assert api.call("GET", "/functions").status_code == 200
    api.database.rows("delete from zmesh.memberships where user_id = %s", api.user_id)
    refused(api.call("GET", "/functions"), 403, "not_a_member")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (new_token(uuid4(), uuid4(), lifetime=-1), "token_expired"),
        (new_token(uuid4(), uuid4(), key="another key that is long enough for HS256"), "token_untrusted"),
        (jwt.encode({"sub": str(uuid4()), "exp": 2**31}, "", algorithm="none"), "token_untrusted"),
        (jwt.encode({"sub": str(uuid4()), "exp": 2**31}, JWT_KEY, algorithm="HS512"), "token_untrusted"),
        (jwt.encode({"sub": str(uuid4()), "exp": 2**31}, JWT_KEY), "token_malformed"),
        (jwt.encode({"sub": str(uuid4()), "project": str(uuid4())}, JWT_KEY), "token_malformed"),
        (jwt.encode({"sub": "ada", "project": str(uuid4()), "exp": 2**31}, JWT_KEY), "token_malformed"),
        (jwt.encode({"sub": str(uuid4()), "project": 5, "exp": 2**31}, JWT_KEY), "token_malformed"),
        ("x", "token_malformed"),
        ("a.b.c", "token_malformed"),
        ("é", "token_malformed"),
    ],
)
def test_a_bad_token_is_refused_with_its_reason(api: Api, token: str, code: str) -> None:
    answer = api.call("GET", "/functions", headers={"authorization": f"Bearer {token}".encode("latin-1")})
    refused(answer, 401, code)
    assert "Bearer" in answer.headers["www-authenticate"]


def test_an_unknown_api_key_is_refused_as_one_wherever_it_stands(api: Api) -> None:
    for header in ({"authorization": "Bearer zb_key"}, {"x-api-key": "zb_key"}):
        answer = api.call("GET", "/functions", headers={"authorization": "", **header})
        refused(answer, 401, "invalid_api_key")
        assert "ApiKey" in answer.headers["www-authenticate"]


def test_another_projects_things_do_not_exist(api: Api, stranger: Api) -> None:
    function = stranger.deploy()
    [id] = stranger.database.enqueue(stranger.project)
    hook = stranger.call("POST", "/webhooks", json={"function_id": "greet"}).json()
    schedule = stranger.call("POST", "/schedules", json={"function_id": "greet", "cron": "@daily"}).json()
    for method, path in (
        ("GET", f"/functions/{function['id']}"),
        ("PATCH", f"/functions/{function['id']}"),
        ("DELETE", f"/functions/{function['id']}"),
        ("POST", f"/functions/{function['id']}/invoke"),
        ("POST", f"/functions/{function['id']}/versions/1/rollback"),
        ("GET", f"/invocations/{id}"),
        ("GET", f"/invocations/{id}/logs"),
        ("POST", f"/invocations/{id}/cancel"),
        ("GET", f"/webhooks/{hook['id']}"),
        ("PATCH", f"/webhooks/{hook['id']}"),
        ("DELETE", f"/webhooks/{hook['id']}"),
        ("GET", f"/schedules/{schedule['id']}"),
        ("PATCH", f"/schedules/{schedule['id']}"),
        ("DELETE", f"/schedules/{schedule['id']}"),
    ):
        body = {"json": {}} if method == "PATCH" else {}
        assert api.call(method, path, **body).status_code == 404, path
    refused(api.call("POST", "/webhooks", json={"function_id": function["id"]}), 404, "function_not_found")
    refused(api.invoke("greet"), 404, "function_not_found")
    assert api.invoke("greet", headers={"x-api-key": stranger.key, "prefer": "respond-async"}).status_code == 202


def test_an_api_key_works_in_either_header_and_stops_when_revoked(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        assert api.invoke().status_code == 200
        bearer = {"authorization": f"Bearer {api.key}"}
        assert api.client.post(f"{api.url}/api/functions/greet", headers=bearer).status_code == 200
    api.database.rows("update zmesh.api_keys set revoked_at = now() where project_id = %s", api.project.id)
    refused(api.invoke(), 401, "api_key_revoked")


def test_keys_and_functions_that_are_asked_for_at_the_same_time_are_not_mixed_up(api: Api, stranger: Api) -> None:
    slugs = ("greet", "part", "missing")
    for who in (api, stranger):
        who.deploy("greet")
        who.deploy("part", enabled=False)

    def call(n: int) -> tuple[int, int]:
        return n % 6, (api, stranger)[n % 2].invoke(slugs[n // 2 % 3], headers={"prefer": "respond-async"}).status_code

    with ThreadPoolExecutor(24) as threads:
        answers = set(threads.map(call, range(240)))
    assert answers == {(0, 202), (1, 202), (2, 409), (3, 409), (4, 404), (5, 404)}


@pytest.mark.parametrize("key", ["zb_wrong", "x" * 5000, "é"])
def test_an_unknown_api_key_is_refused(api: Api, key: str) -> None:
    answer = api.invoke(headers={"x-api-key": key.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("ApiKey")


def test_the_public_route_asks_for_a_key(api: Api) -> None:
    api.deploy()
    refused(api.client.post(f"{api.url}/api/functions/greet"), 401, "missing_credentials")
    token = {"authorization": f"Bearer {api.token}"}
    refused(api.client.post(f"{api.url}/api/functions/greet", headers=token), 401, "missing_credentials")


def test_the_last_use_of_a_key_is_noted(api: Api) -> None:
    api.deploy()
    api.invoke(headers={"prefer": "respond-async"})
    used = eventually(
        lambda: api.database.value("select last_used_at from zmesh.api_keys where project_id = %s", api.project.id),
        "the note of the key's use",
    )
    assert abs((datetime.now(UTC) - used).total_seconds()) < 60


def test_logging_in_gives_a_token_of_the_project(api: Api) -> None:
    email = f"{api.project.schema}@example.org"
    email = api.database.value("select email from zmesh.users where id = %s", api.user_id)
    answer = api.client.post(f"{api.url}/auth/login", json={"email": email.upper(), "password": "pw"})
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert session["project_id"] == str(api.project.id)
    assert datetime.fromisoformat(session["expires_at"]) > datetime.now(UTC)
    api.token = session["token"]
    assert api.call("GET", "/functions").status_code == 200
    elsewhere = {"email": email, "password": "pw", "project": "nowhere"}
    refused(api.client.post(f"{api.url}/auth/login", json=elsewhere), 403, "not_a_member")


def test_a_wrong_password_and_an_unknown_person_look_and_last_the_same(api: Api) -> None:
    email = api.database.value("select email from zmesh.users where id = %s", api.user_id)

    def attempt(who: str) -> tuple[dict[str, object], float]:
        started = time.perf_counter()
        answer = api.client.post(f"{api.url}/auth/login", json={"email": who, "password": "wrong"})
        return refused(answer, 401, "invalid_login"), time.perf_counter() - started

    known, known_time = attempt(email)
    unknown, unknown_time = attempt("nobody@example.org")
    assert known == unknown
    assert unknown_time > known_time / 4


def at(address: str) -> httpx.Client:
    """A client whose guesses are not held against the other tests."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=30)


def email_of(api: Api) -> str:
    email: str = api.database.value("select email from zmesh.users where id = %s", api.user_id)
    return email


def attempt(client: httpx.Client, api: Api, password: str, email: str | None = None) -> httpx.Response:
    return client.post(f"{api.url}/auth/login", json={"email": email or email_of(api), "password": password})


def test_guessing_passwords_is_throttled(api: Api) -> None:
    with at("127.0.0.9") as client:
        answers = [attempt(client, api, f"guess {n}") for n in range(9)]
        assert [answer.status_code for answer in answers] == [401] * 8 + [429]
        refused(answers[-1], 429, "too_many_attempts")
        assert int(answers[-1].headers["retry-after"]) > 0
        assert attempt(client, api, "pw").status_code == 429


def test_guesses_at_once_are_not_more_than_guesses_in_a_row(api: Api) -> None:
    email = email_of(api)
    with at("127.0.0.10") as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: attempt(client, api, f"guess {n}", email), range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 8 + [429] * 12


def test_guesses_from_elsewhere_do_not_keep_a_person_out(api: Api) -> None:
    with at("127.0.0.11") as home, at("127.0.0.12") as elsewhere:
        assert attempt(home, api, "pw").status_code == 200
        while attempt(elsewhere, api, "guess").status_code == 401:
            pass
        refused(attempt(elsewhere, api, "pw"), 429, "too_many_attempts")
        assert attempt(home, api, "pw").status_code == 200


def test_an_address_that_tries_many_accounts_is_throttled(api: Api) -> None:
    with at("127.0.0.13") as client:
        answers = [attempt(client, api, "guess", f"{n}@example.org").status_code for n in range(31)]
        assert answers == [401] * 30 + [429]


def test_a_client_that_claims_to_be_a_proxy_is_throttled_anyway(api: Api) -> None:
    with at("127.0.0.14") as client:
        for n in range(31):
            client.headers["x-forwarded-for"] = f"203.0.113.{n}"
            answer = attempt(client, api, "guess", f"{n}@example.org")
        refused(answer, 429, "too_many_attempts")


def test_a_trusted_proxy_says_who_asks(api: Api, tmp_path: Path) -> None:
    process = ApiProcess(api.database, tmp_path / "log", ZMESH_TRUSTED_PROXIES="127.0.0.15, 10.0.0.0/8")
    behind = replace(api, url=process.url)
    try:
        with at("127.0.0.15") as proxy, at("127.0.0.16") as other:
            for client, last in ((proxy, 401), (other, 429)):
                for n in range(31):
                    # What the client claims comes first; the proxy adds whom it saw, and another proxy adds that one.
                    client.headers["x-forwarded-for"] = f"198.51.100.1, 203.0.113.{n}, 10.1.2.3"
                    answer = attempt(client, behind, "guess", f"{n}@example.org")
                assert answer.status_code == last
    finally:
        process.stop()


def test_an_invalid_list_of_proxies_is_refused_at_startup(tmp_path: Path) -> None:
    values = {"DATABASE_URL": "postgresql://x", "JWT_SECRET_KEY": "x", "ZMESH_SECRET_KEY": "x"}
    assert read_settings(Settings, values).trusted_proxies == []
    for given in ("proxy.example", "10.0.0.1/8", "*"):
        with pytest.raises(SettingsError, match=r"ZMESH_TRUSTED_PROXIES is invalid: .*such as 10\.0\.0\.5"):
            read_settings(Settings, {**values, "ZMESH_TRUSTED_PROXIES": given})


def test_guessing_keys_is_throttled_and_keeps_no_good_key_out(api: Api) -> None:
    function = f"{api.url}/api/functions/greet"
    api.deploy()
    with at("127.0.0.14") as client:

        def call(key: str) -> httpx.Response:
            return client.post(function, headers={"x-api-key": key, "prefer": "respond-async"})

        assert call(api.key).status_code == 202
        assert {call(f"zb_guess{n}").status_code for n in range(60)} == {401}
        refused(call("zb_guess60"), 429, "too_many_attempts")
        assert call(api.key).status_code == 202
    assert api.invoke(headers={"prefer": "respond-async"}).status_code == 202


def test_guessing_refresh_tokens_and_invitations_is_throttled(api: Api) -> None:
    with at("127.0.0.15") as client:
        for n in range(15):
            guess = {"refresh_token": f"zr_{n}"}
            refused(client.post(f"{api.url}/auth/refresh", json=guess), 401, "invalid_refresh_token")
            guess = {"token": f"zi_{n}", "password": "a password of some length"}
            refused(client.post(f"{api.url}/auth/accept", json=guess), 404, "invitation_not_found")
        last = client.post(f"{api.url}/auth/refresh", json={"refresh_token": "zr_16"})
        refused(last, 429, "too_many_attempts")


def test_nothing_that_others_send_makes_lines_of_its_own_in_the_log(backend: Backend, api: Api) -> None:
    forged = "2026-01-01 00:00:00,000 INFO api.access GET /forged 200"
    path = f"/functions/x%0A{quote(forged)}%1B[31m"
    api.call("GET", path)
    api.client.post(f"{api.url}/auth/login", json={"email": f"a@b\n{forged}", "password": f"\n{forged}"})
    logged = eventually(
        lambda: "/forged" in (text := backend.process.log.read_text()) and text, "the log of the request"
    )
    assert not [line for line in logged.splitlines() if line.startswith(forged)]
    assert "\x1b" not in logged
