"""`zmesh doctor` on a server that somebody else runs."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from cli.platform import doctor
from cli.platform.processes import ephemeral_ports
from tests.cli.test_people import person
from tests.databases import Database


def test_it_says_what_to_change_in_the_server(database: Database, tmp_path: Path) -> None:
    database.rows("insert into zmesh.leftover_roles values (current_user, now(), 'objects in database other')")
    operator = person(tmp_path, "op", DATABASE_URL=database.admin_url)
    [finding] = [one for one in operator.reads("doctor") if one["check"] == "PostgreSQL"]
    assert finding["state"] == "warning"
    assert "the role postgres of a deleted project remains: objects in database other" in finding["detail"]
    assert "drop owned by postgres. Then: drop role postgres" in finding["fix"]


@pytest.mark.parametrize("password", ["hidden%key", "hidden/key", "hidden@key"])
def test_it_tells_no_part_of_a_password_that_is_not_encoded(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{password}@127.0.0.1:1/zmesh")
    for finding in (doctor._postgres(), doctor._server_port()):
        assert finding.state != "ok"
        assert "percent-encode" in finding.detail
        assert "hidden" not in str(finding)
        assert "key" not in str(finding)


@pytest.mark.parametrize(
    ("limit", "user", "state"),
    [(100, 1000, "warning"), (4096, 1000, "ok"), (resource.RLIM_INFINITY, 1000, "ok"), (100, 0, "ok")],
)
def test_it_warns_of_a_low_limit_of_processes(
    monkeypatch: pytest.MonkeyPatch, limit: int, user: int, state: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr("os.geteuid", lambda: user)
    finding = doctor._processes()
    assert finding.state == state
    assert ("LimitNPROC" in finding.fix) == (state == "warning")


def test_it_warns_of_each_port_that_functions_may_listen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = ephemeral_ports()
    monkeypatch.setenv("ZMESH_PORT", str(low))
    monkeypatch.setenv("ZMESH_ADMIN_PORT", str(high))
    finding = doctor._port()
    assert finding.state == "warning"
    assert f"ZMESH_PORT {low} and ZMESH_ADMIN_PORT {high} are among the ports" in finding.detail
