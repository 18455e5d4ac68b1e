"""API keys: made, recognised and hashed. The database keeps the SHA-256 of a key and the prefix it is listed by."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "zb_"
LISTED_LENGTH = 11


def new_api_key() -> str:
    """A fresh key of 256 random bits."""
    return f"{PREFIX}{secrets.token_urlsafe(32)}"


def is_api_key(token: str) -> bool:
    """Whether a bearer token has the form of an API key."""
    return token.startswith(PREFIX)


def listed_prefix(key: str) -> str:
    """The beginning of a key by which it is listed."""
    return key[:LISTED_LENGTH]


def key_hash(key: str) -> bytes:
    """What is stored of a key. Looked up by equality, which tells nothing of the key: it has 256 random bits."""
    return hashlib.sha256(key.encode()).digest()
