"""Roles of projects that their projects have changed so that signing in takes long."""

from __future__ import annotations

import base64
import secrets

from tests.databases import Database, TestProject

ITERATIONS = 1_000_000  # a second for libpq, and for PostgreSQL when it takes the verifier


def demand_hashing(
    database: Database, project: TestProject, iterations: int = ITERATIONS, salt_bytes: int = 16
) -> None:
    """Give the role a verifier that asks each client for so many iterations."""
    salt, stored, server = (base64.b64encode(secrets.token_bytes(n)).decode() for n in (16, 32, 32))
    verifier = f"SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"
    database.rows(f"alter role current_user password '{verifier}'", url=project.url)


def warn_at_length(database: Database, project: TestProject, size: int) -> None:
    """Give the role a setting that each new session warns of, in full."""
    database.rows(
        "do $$ begin execute format("
        f"'alter role current_user set default_text_search_config = %L', repeat('x', {size})); end $$",
        url=project.url,
    )
