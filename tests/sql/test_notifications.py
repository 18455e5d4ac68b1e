"""Notifications are hints: when the server has no room for more of them, everything works without."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from cli.platform import postgres
from tests.databases import Database


def test_a_session_that_keeps_all_notifications_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(postgres.SETTINGS, "max_notify_queue_pages", "64")  # the least that the server takes
    server = postgres.EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    try:
        with psycopg.connect(server.admin_url, autocommit=True) as connection:
            connection.execute("create database full_of_notifications")
        database = Database.create(server.admin_url, "full_of_notifications", "pw", "pw")
        project = database.project()
        database.function(project)
        listener = database.listener()
        assert database.claim(listener) == []
        with psycopg.connect(project.url) as keeping, psycopg.connect(project.url, autocommit=True) as filling:
            keeping.execute("listen anything")
            keeping.commit()
            keeping.execute("select 1")  # its transaction stays open
            for _ in range(32):
                filling.execute("select pg_notify('anything', repeat('x', 7900))")
            with pytest.raises(psycopg.OperationalError, match="too many notifications"):
                filling.execute("select pg_notify('anything', repeat('x', 7900) || n) from generate_series(1, 99) n")
            [id] = database.enqueue(project, reply_channel=f"zmesh_r_{'0' * 32}")
            [job] = database.claim(listener)
            assert database.finish(listener, job)
            assert database.invocation(id)["status"] == "success"
    finally:
        server.stop()
