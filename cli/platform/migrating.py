"""`zmesh migrate`: the database first, then a first project where the environment names one."""

from __future__ import annotations

import psycopg

from cli.errors import CliError
from cli.output import progress
from cli.platform.bootstrap import bootstrap
from cli.platform.database_settings import FirstProjectSettings, MigrateSettings, settings_from_environment
from sql.errors import DomainError
from sql.migrate import MigrationError, migrate
from support.sealing import Sealer, SealingError

URL_HINT = "Name the database and a role that may create roles: postgresql://user:password@host/database"


def migrate_from_environment() -> None:
    """Migrate DATABASE_URL; with ZMESH_PROJECT, also create that project. Raises CliError."""
    settings = settings_from_environment(MigrateSettings, URL_HINT)
    passwords = {"zmesh_api": settings.api_password, "zmesh_listener": settings.listener_password}
    try:
        given = {role: password for role, password in passwords.items() if password}
        progress(f"Database: {migrate(settings.database_url, passwords=given)}")
        if settings.project:
            _make_first_project(settings.database_url)
    except (psycopg.Error, MigrationError, DomainError, SealingError) as error:
        raise CliError(f"The database cannot be migrated: {str(error).strip()}", code="migration_failed") from error


def _make_first_project(url: str) -> None:
    settings = settings_from_environment(FirstProjectSettings, "A first project needs it; or leave ZMESH_PROJECT out.")
    created = bootstrap(
        url,
        Sealer(settings.secret_key),
        project_name=settings.project,
        admin_email=settings.admin_email,
        admin_password=settings.admin_password,
        api_key=settings.api_key,
    )
    progress(f"Project {created.project.slug}: {settings.admin_email} owns it.")
