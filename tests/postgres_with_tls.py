"""A private PostgreSQL that accepts TLS."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql

from tests.listener.conftest import eventually
from tests.postgres_with_cron import postgres_with_cron


@asynccontextmanager
async def server_with_tls() -> AsyncIterator[str]:
    """Yields a superuser's connection string."""
    with (
        tempfile.TemporaryDirectory(prefix="zmesh-tls-") as root,  # its own user gets into it
        postgres_with_cron(Path(root), "zmesh") as url,
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            use_tls(connection)
        await eventually(lambda: by_tls(url), "a session by TLS")
        yield url


def use_tls(connection: psycopg.Connection[object]) -> None:
    """The server writes its own files: it may run in a container."""
    key, certificate = of_localhost()
    for name, pem in (("server.key", key), ("server.crt", certificate)):
        connection.execute(
            sql.SQL("copy (select regexp_split_to_table(rtrim({}), '\n')) to program {}").format(
                pem, f"umask 077; cat > {name}"
            )
        )
    connection.execute("alter system set ssl = on")
    connection.execute("select pg_reload_conf()")


def of_localhost() -> tuple[str, str]:
    """A private key and its self-signed certificate, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def by_tls(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.pgconn.ssl_in_use
