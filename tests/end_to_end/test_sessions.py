"""zmesh.db over the sessions that the platform signs in for runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from listener import sessions
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import SERVICES, Parts, Platform, eventually

ASK = {
    "python": "def handler(payload, zmesh):\n    return [zmesh.db.query_one(sql) for sql in payload]\n",
    "javascript": """
exports.handler = async (payload, zmesh) => {
  const answers = [];
  for (const sql of payload) answers.push(await zmesh.db.queryOne(sql));
  return answers;
};
""",
}
WHO = """
select pg_backend_pid() as pid,
    (select backend_start from pg_stat_activity where pid = pg_backend_pid()) < (
        select created_at from zmesh.invocations where id = current_setting('zmesh.invocation_id')::uuid
    ) as stood_ready,
    current_user::text as role, current_setting('application_name') as name,
    current_setting('zmesh.invocation_id') as invocation, current_setting('client_encoding') as encoding, 'ä€🐘' as text
"""
SURVIVE = {
    "python": """
def handler(payload, zmesh):
    before = zmesh.db.query_one("select pg_backend_pid() as pid")["pid"]
    try:
        zmesh.db.query("select pg_terminate_backend(pg_backend_pid())")
        return "the session should have ended"
    except Exception as error:
        lost = str(error)
    return [before, lost, zmesh.db.query_one("select pg_backend_pid() as pid")["pid"]]
""",
    "javascript": """
exports.handler = async (payload, zmesh) => {
  const before = (await zmesh.db.queryOne("select pg_backend_pid() as pid")).pid;
  const ending = zmesh.db.query("select pg_terminate_backend(pg_backend_pid())");
  const lost = await ending.then(() => null, (error) => error.message);
  return [before, lost, (await zmesh.db.queryOne("select pg_backend_pid() as pid")).pid];
};
""",
}
SPARE = "select pid from pg_stat_activity where usename = current_user and application_name = 'zmesh for the next run'"

languages = pytest.mark.parametrize("language", ["python", "javascript"])


@pytest.fixture(scope="module")
def platform(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All parts, for the tests of this module together."""
    with (
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database,
        Parts(database, tmp_path_factory.mktemp("sessions"), forks=SERVICES) as parts,
    ):
        parts.start_listener()
        yield parts.platform


def spare(platform: Platform) -> set[int]:
    """The process numbers of the sessions that wait for the next run, once that is all that are to wait."""

    def look() -> set[int] | None:
        found = {row["pid"] for row in platform.sql(SPARE)}
        return found if len(found) == sessions.SPARE else None

    return eventually(look, "the sessions that wait for the next run")


def deployed(platform: Platform, language: str, code: dict[str, str] = ASK, **settings: Any) -> str:
    slug = f"{'ask' if code is ASK else 'survive'}-{language}"
    platform.deploy(slug, code[language], language, **settings)
    platform.invoke(slug, ["select 1 as one"])  # who asks once is expected to ask again
    return slug


@languages
def test_a_run_takes_over_a_waiting_session(platform: Platform, language: str) -> None:
    slug = deployed(platform, language)
    spare(platform)
    answer = platform.invoke(slug, [WHO]).json()
    [who] = answer["result"]
    assert who["stood_ready"]
    assert who["invocation"] == answer["invocation_id"]
    assert (who["name"], who["encoding"], who["text"]) == (f"zmesh {slug}", "UTF8", "ä€🐘")
    assert [{"current_user": who["role"]}] == platform.sql("select current_user::text")


@languages
def test_no_session_serves_two_runs(platform: Platform, language: str) -> None:
    slug = deployed(platform, language)
    seen = [platform.result(slug, [WHO])[0]["pid"] for _ in range(12)]
    assert len(set(seen)) == len(seen)


@languages
def test_what_a_run_sets_in_its_session_ends_with_it(platform: Platform, language: str) -> None:
    slug = deployed(platform, language)
    spare(platform)
    assert platform.result(slug, ["set timezone to 'Asia/Tokyo'", "show timezone"])[1] == {"TimeZone": "Asia/Tokyo"}
    assert platform.result(slug, ["show timezone"]) == [{"TimeZone": "UTC"}]


@languages
def test_a_run_whose_session_was_ended_gets_another(platform: Platform, language: str) -> None:
    slug = deployed(platform, language, SURVIVE)
    spare(platform)
    before, lost, after = platform.result(slug)
    assert "terminat" in lost
    assert before != after


@languages
def test_sessions_that_were_ended_while_they_waited_are_given_to_nobody(platform: Platform, language: str) -> None:
    slug = deployed(platform, language)
    ended = spare(platform)
    platform.sql(f"select pg_terminate_backend(pid) from ({SPARE}) waiting")
    assert platform.result(slug, [WHO])[0]["pid"] not in ended


@languages
def test_dates_and_errors_arrive_as_by_a_session_of_its_own(platform: Platform, language: str) -> None:
    slug = deployed(platform, language)
    spare(platform)
    answers = platform.result(
        slug, ["select timestamptz '2026-03-01 12:00+01' as at, date '2026-03-01' as day, 1.5 as n"]
    )
    assert [str(value)[:19].replace(" ", "T") for value in answers[0].values()] == [
        "2026-03-01T11:00:00",
        "2026-03-01",
        "1.5",
    ]
    failed = platform.invoke(slug, ["select * from nowhere"])
    assert 'relation "nowhere" does not exist' in failed.json()["error"]["message"]


def test_variables_that_apply_at_session_start_are_respected(platform: Platform) -> None:
    slug = deployed(platform, "python", env_vars={"PGTZ": "Asia/Tokyo"})
    assert platform.result(slug, ["show timezone"]) == [{"TimeZone": "Asia/Tokyo"}]
    platform.deploy(slug, ASK["python"], env_vars={})


@languages
def test_a_response_made_piece_by_piece_may_ask_after_its_first_piece(platform: Platform, language: str) -> None:
    code = {
        "python": "def handler(payload, zmesh):\n    yield 'a'\n    yield str(zmesh.db.query_one('select 1 as one'))\n",
        "javascript": "exports.handler = async function* (payload, zmesh) {\n"
        "  yield 'a';\n  yield JSON.stringify(await zmesh.db.queryOne('select 1 as one'));\n};\n",
    }
    platform.deploy(f"pieces-{language}", code[language], language)
    answer = platform.invoke(f"pieces-{language}")
    assert (answer.status_code, answer.text[0], "one" in answer.text) == (200, "a", True)


@pytest.mark.parametrize("folder", ["a'b\\", "/", "x" * 120, "full"])
def test_the_database_answers_from_any_folder_of_a_function(platform: Platform, folder: str) -> None:
    code = f"""
import os

def handler(payload, zmesh):
    if {folder!r} != "/":
        os.mkdir({folder!r})
    os.chdir({folder!r})
    if {folder!r} == "full":
        open(".s.PGSQL.1", "w").close()
    return [zmesh.db.query_one("select 1 as one"), sorted(os.listdir("."))[:1]]
"""
    platform.deploy("wanderer", code)
    one, left = platform.result("wanderer")
    assert one == {"one": 1}
    assert left == {"full": [".s.PGSQL.1"], "/": left}.get(folder, [])
