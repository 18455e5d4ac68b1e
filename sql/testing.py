"""The throw-away database in which people test their functions: a migrated one with what testing.sql adds."""

from __future__ import annotations

from importlib import resources

import psycopg

from sql import accounts
from sql.connecting import with_required_auth
from support.sealing import Sealer

PROJECT = "test"


def prepare_for_tests(admin_url: str) -> str:
    """Make a project in a migrated database that nobody else uses; returns the connection string of its role."""
    sealer = Sealer(Sealer.new_key())
    with psycopg.connect(with_required_auth(admin_url), autocommit=True, application_name="zmesh test") as connection:
        connection.execute((resources.files("sql") / "testing.sql").read_bytes())
        project = accounts.create_project(connection, sealer, PROJECT)
        return accounts.project_url(connection, sealer, project, admin_url)
