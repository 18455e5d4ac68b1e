"""A first project, administrator and key in a migrated database; running it again changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg

from sql import accounts
from sql.connecting import with_required_auth
from support.api_keys import key_hash, listed_prefix
from support.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What a person needs to start: the project, its administrator's id and the project role's connection string."""

    project: accounts.Project
    user_id: UUID
    database_url: str


def bootstrap(
    admin_url: str,
    sealer: Sealer,
    *,
    project_name: str,
    admin_email: str,
    admin_password: str,
    api_key: str | None = None,
) -> Bootstrapped:
    """Make sure that project, administrator (as owner) and key exist.

    Raises psycopg.Error, SealingError where the project was made under another key, DomainError for a bad name.
    """
    with psycopg.connect(
        with_required_auth(admin_url), autocommit=True, application_name="zmesh bootstrap"
    ) as connection:
        project = accounts.find_project(connection, accounts.slug_of(connection, project_name))
        if project is None:
            project = accounts.create_project(connection, sealer, project_name)
        user_id = accounts.ensure_user(connection, admin_email, admin_password)
        accounts.ensure_member(connection, user_id, project.id, "owner")
        if api_key is not None:
            accounts.ensure_api_key(connection, project.id, "default", listed_prefix(api_key), key_hash(api_key))
        url = accounts.project_url(connection, sealer, project, admin_url)
    return Bootstrapped(project, user_id, url)
