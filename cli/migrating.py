"""`zmesh migrate`: the database first, then a first project where the environment names one."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from cli.bootstrap import bootstrap
from cli.errors import CliError
from cli.output import progress
from sql.errors import DomainError
from sql.migrate import MigrationError, migrate
from support.sealing import Sealer, SealingError

PASSWORDS = {"ZMESH_API_PASSWORD": "zmesh_api", "ZMESH_LISTENER_PASSWORD": "zmesh_listener"}
FIRST_PROJECT = ("ZMESH_PROJECT", "ZMESH_SECRET_KEY", "ZMESH_ADMIN_EMAIL", "ZMESH_ADMIN_PASSWORD")


def migrate_from_environment(environment: Mapping[str, str]) -> None:
    """Migrate DATABASE_URL; with ZMESH_PROJECT, also make that project. Raises CliError."""
    url = environment.get("DATABASE_URL")
    if not url:
        raise CliError(
            "DATABASE_URL is not set.",
            code="not_configured",
            hint="It names the database and a role that may create roles: postgresql://user:password@host/database",
        )
    passwords = {role: environment[name] for name, role in PASSWORDS.items() if environment.get(name)}
    try:
        progress(f"Database: {migrate(url, passwords=passwords)}")
        if environment.get("ZMESH_PROJECT"):
            _make_first_project(url, environment)
    except (psycopg.Error, MigrationError, DomainError, SealingError) as error:
        raise CliError(f"The database cannot be migrated: {str(error).strip()}", code="migration_failed") from error


def _make_first_project(url: str, environment: Mapping[str, str]) -> None:
    missing = [name for name in FIRST_PROJECT if not environment.get(name)]
    if missing:
        raise CliError(
            f"A first project needs {', '.join(missing)} too.",
            code="not_configured",
            hint="Or leave ZMESH_PROJECT out.",
        )
    made = bootstrap(
        url,
        Sealer(environment["ZMESH_SECRET_KEY"]),
        project_name=environment["ZMESH_PROJECT"],
        admin_email=environment["ZMESH_ADMIN_EMAIL"],
        admin_password=environment["ZMESH_ADMIN_PASSWORD"],
        api_key=environment.get("ZMESH_API_KEY") or None,
    )
    progress(f"Project {made.project.slug}: {environment['ZMESH_ADMIN_EMAIL']} owns it.")
