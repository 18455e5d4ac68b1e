"""Reseals everything with the first key, so that the others can be removed; runs as an administrator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from sql import secrets
from sql.accounts import password_purpose
from sql.callbacks import signing_purpose
from sql.registries import token_purpose
from sql.webhooks import secret_purpose
from support.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Place:
    """A column of sealed texts. The query gives a row's key, the text, and what its purpose is made of."""

    table: str
    column: str
    query: str
    purpose: Callable[..., str]


PLACES = (
    Place(
        "project_databases",
        "sealed_password",
        "select d.project_id, d.sealed_password, p.role_name"
        "  from zmesh.project_databases d join zmesh.projects p on p.id = d.project_id",
        password_purpose,
    ),
    Place("webhooks", "sealed_secret", "select id, sealed_secret, id from zmesh.webhooks", secret_purpose),
    Place(
        "webhooks",
        "sealed_previous_secret",
        "select id, sealed_previous_secret, id from zmesh.webhooks",
        secret_purpose,
    ),
    Place(
        "signing_secrets",
        "sealed_secret",
        "select project_id, sealed_secret, project_id from zmesh.signing_secrets",
        signing_purpose,
    ),
    Place(
        "signing_secrets",
        "sealed_previous_secret",
        "select project_id, sealed_previous_secret, project_id from zmesh.signing_secrets",
        signing_purpose,
    ),
    Place(
        "secrets",
        "sealed",
        "select id, sealed, project_id, function_id, name from zmesh.secrets",
        secrets.purpose,
    ),
    Place(
        "registries",
        "sealed_token",
        "select id, sealed_token, project_id, runtime, packages, url from zmesh.registries",
        token_purpose,
    ),
)


def reseal(connection: psycopg.Connection, sealer: Sealer) -> int:
    """Reseal values that another key sealed; returns how many.

    Everything else may continue meanwhile: a value that changes during this keeps its new form.
    Raises SealingError for a value that no key opens.
    """
    return sum(_reseal(connection, sealer, place) for place in PLACES)


def _reseal(connection: psycopg.Connection, sealer: Sealer, place: Place) -> int:
    count = 0
    for key, sealed, *parts in connection.execute(place.query.encode()).fetchall():
        if sealed is not None and not sealer.is_current(sealed):
            purpose = place.purpose(*parts)
            anew = sealer.seal(sealer.open(sealed, purpose), purpose)
            values = (f"{place.table}.{place.column}", key, sealed, anew)
            row = connection.execute("select zmesh.reseal(%s, %s, %s, %s)", values).fetchone()
            count += row == (True,)
    return count
