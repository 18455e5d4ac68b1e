"""Settings of the commands that work on the database itself: `zmesh migrate` and `zmesh admin`."""

from __future__ import annotations

import os
from typing import Annotated, TypeVar

from pydantic import AfterValidator

from cli.errors import CliError
from sql.connecting import checked_url
from support.settings import ProcessSettings, Required, SettingsError, Variable, read_settings

Model = TypeVar("Model", bound=ProcessSettings)


class DatabaseSettings(ProcessSettings):
    """The database, as a role that may create roles."""

    database_url: Annotated[Required, AfterValidator(checked_url), Variable("DATABASE_URL")]


class SealingSettings(ProcessSettings):
    """The keys that seal secrets."""

    secret_key: Annotated[Required, Variable("ZMESH_SECRET_KEY")]


class MigrateSettings(DatabaseSettings):
    """With `project`, a first project is made, and the settings it needs are required."""

    api_password: Annotated[str | None, Variable("ZMESH_API_PASSWORD")] = None
    listener_password: Annotated[str | None, Variable("ZMESH_LISTENER_PASSWORD")] = None
    project: Annotated[str | None, Variable("ZMESH_PROJECT")] = None


class FirstProjectSettings(SealingSettings):
    """A first project and its owner; `api_key` is one for it, if given."""

    project: Annotated[Required, Variable("ZMESH_PROJECT")]
    admin_email: Annotated[Required, Variable("ZMESH_ADMIN_EMAIL")]
    admin_password: Annotated[Required, Variable("ZMESH_ADMIN_PASSWORD")]
    api_key: Annotated[str | None, Variable("ZMESH_API_KEY")] = None


def settings_from_environment(model: type[Model], hint: str) -> Model:
    """Raises CliError."""
    try:
        return read_settings(model, os.environ)
    except SettingsError as error:
        raise CliError(str(error), code="not_configured", hint=hint) from error
