"""Projects, people and keys as an administrator makes them; needs a connection that may create roles."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

import argon2
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from sql.errors import translated
from support.scram import verifier
from support.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Project:
    """A project and the login role of its functions."""

    id: UUID
    name: str
    slug: str
    role_name: str
    schema_name: str


def password_purpose(role_name: str) -> str:
    """What a project's password is sealed for."""
    return f"project role {role_name}"


def slug_of(connection: psycopg.Connection, name: str) -> str:
    """The slug that a project of this name gets."""
    row = connection.execute("select zmesh.slug_of(%s)", (name,)).fetchone()
    return row[0] if row else ""


def find_project(connection: psycopg.Connection, slug: str) -> Project | None:
    """The project with this slug."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(
            "select id, name, slug, role_name, schema_name from zmesh.projects where slug = %s", (slug,)
        ).fetchone()


@dataclass(frozen=True, slots=True)
class NewProject:
    """What a project is made of: names of its role and schema, and the role's password, verifiable and sealed."""

    name: str
    role_name: str
    schema_name: str
    verifier: str
    sealed_password: bytes

    @classmethod
    def of(cls, name: str, sealer: Sealer) -> NewProject:
        """With names that nobody else has and a random password."""
        plain = re.sub("[^a-z0-9]+", "_", name.lower())[:40].strip("_") or "project"
        unique = f"{plain}_{secrets.token_hex(3)}"
        role, password = f"zmesh_p_{unique}", secrets.token_urlsafe(32)
        return cls(name, role, f"app_{unique}", verifier(password), sealer.seal(password, password_purpose(role)))


def create_project(connection: psycopg.Connection, sealer: Sealer, name: str) -> Project:
    """Create a project with its role and schema. Raises Conflict where the slug is taken."""
    new = NewProject.of(name, sealer)
    with translated(), connection.cursor(row_factory=class_row(Project)) as cursor:
        project = cursor.execute(
            "select id, name, slug, role_name, schema_name from zmesh.create_project(%s, %s, %s, %s, %s)",
            (new.name, new.role_name, new.schema_name, new.verifier, new.sealed_password),
        ).fetchone()
    assert project is not None
    return project


def project_url(connection: psycopg.Connection, sealer: Sealer, project: Project, admin_url: str) -> str:
    """Connection string of the project's own role, on the server `admin_url` names."""
    row = connection.execute(
        "select sealed_password from zmesh.project_databases where project_id = %s", (project.id,)
    ).fetchone()
    assert row is not None
    password = sealer.open(bytes(row[0]), password_purpose(project.role_name))
    return role_url(admin_url, project.role_name, password)


def role_url(url: str, role: str, password: str) -> str:
    """The same server and database as `url`, as another role: a libpq URL."""
    parts = conninfo_to_dict(make_conninfo(url))
    host, port = parts.get("host") or "127.0.0.1", parts.get("port") or "5432"
    if str(host).startswith("/"):
        host = "127.0.0.1"
    return f"postgresql://{role}:{password}@{host}:{port}/{parts.get('dbname') or 'postgres'}"


def ensure_user(connection: psycopg.Connection, email: str, password: str) -> UUID:
    """The user with this address, created with this password where there is none; a changed password stays."""
    values = (email, argon2.PasswordHasher().hash(password))
    with translated():
        row = connection.execute("select zmesh.ensure_user(%s, %s)", values).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def find_user(connection: psycopg.Connection, email: str) -> UUID | None:
    """The user with this address."""
    row = connection.execute("select id from zmesh.users where lower(email) = lower(%s)", (email,)).fetchone()
    return None if row is None else UUID(str(row[0]))


def set_password(connection: psycopg.Connection, user_id: UUID, password: str) -> None:
    """Give a user another password, and end all their sessions."""
    connection.execute("select zmesh.set_password(%s, %s)", (user_id, argon2.PasswordHasher().hash(password)))


def ensure_member(connection: psycopg.Connection, user_id: UUID, project_id: UUID, role: str) -> None:
    """Give a user a role in a project, in place of any other."""
    with translated():
        connection.execute("select zmesh.ensure_member(%s, %s, %s)", (user_id, project_id, role))


def ensure_api_key(connection: psycopg.Connection, project_id: UUID, name: str, prefix: str, hash: bytes) -> None:
    """Store an API key; one that exists, even revoked, stays as it is."""
    connection.execute("select zmesh.ensure_key(%s, %s, %s, %s)", (project_id, name, prefix, hash))


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """How much a project may ask for; None is any number."""

    requests_per_second: int | None
    max_queued: int
    max_running: int


def limit_project(
    connection: psycopg.Connection,
    slug: str,
    requests_per_second: int | None,
    max_queued: int | None,
    max_running: int | None,
) -> ProjectLimits | None:
    """Change limits of a project, None leaves one as it is and 0 requests a second are any number; returns all of
    them, or None where there is no such project."""
    with connection.cursor(row_factory=class_row(ProjectLimits)) as cursor:
        return cursor.execute(
            "select * from zmesh.limit_project(%s, %s, %s, %s)", (slug, requests_per_second, max_queued, max_running)
        ).fetchone()


def limit_connections(connection: psycopg.Connection, slug: str, count: int) -> None:
    """Change how many database sessions a project's role may have; 0 is the default, derived from max_connections."""
    connection.execute(
        "select zmesh.limit_connections(id, nullif(%s, 0)) from zmesh.projects where slug = %s", (count, slug)
    )


def limit_owners(connection: psycopg.Connection, count: int) -> None:
    """Change how many projects one user may own."""
    connection.execute("select zmesh.set_max_projects_per_owner(%s)", (count,))


def limit_key(connection: psycopg.Connection, prefix: str, requests_per_second: int) -> bool:
    """Change the limit of the API key with this prefix, 0 is any number; False where there is none."""
    row = connection.execute("select zmesh.limit_key(%s, %s)", (prefix, requests_per_second)).fetchone()
    return row == (True,)
