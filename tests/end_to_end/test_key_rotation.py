"""The key of all sealed values is replaced while the platform is at work."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.sealing import Sealer
from tests.databases import Database
from tests.platform import SERVICES, ZMESH, Parts, clean_environment

CODE = """
def handler(payload, zmesh):
    return [zmesh.env.TOKEN, zmesh.db.query_one("select 1 as one")["one"]]
"""


def test_every_call_finds_its_secrets_at_each_step(database: Database, tmp_path: Path) -> None:
    old, new = database.secret_key, Sealer.new_key()
    database.secret_key = f"{old},{new}"
    with Parts(database, tmp_path, forks=SERVICES) as parts:
        platform = parts.platform
        first = parts.start_listener()
        platform.deploy("pay", CODE)
        platform.request("PUT", "/secrets/TOKEN", json={"value": "sealed with the old key"})
        assert platform.result("pay") == ["sealed with the old key", 1]

        done = subprocess.run(
            [*ZMESH, "admin", "rotate-key"],
            env={**clean_environment(), "DATABASE_URL": database.admin_url, "ZMESH_SECRET_KEY": f"{new},{old}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Re-encrypted 2 values" in done.stderr, done.stderr  # the project's password is the other one
        assert platform.result("pay") == ["sealed with the old key", 1]

        parts.start_listener(ZMESH_SECRET_KEY=new)
        first.stop()
        assert platform.result("pay") == ["sealed with the old key", 1]
