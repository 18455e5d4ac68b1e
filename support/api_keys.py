"""Creates, recognizes and hashes API keys. The database stores a key's SHA-256 and the prefix that lists show."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "zb_"
LISTED_LENGTH = 11


def new_api_key() -> str:
    """A new key of 256 random bits."""
    return f"{PREFIX}{secrets.token_urlsafe(32)}"


def is_api_key(token: str) -> bool:
    """Whether a bearer token has the form of an API key."""
    return token.startswith(PREFIX)


def listed_prefix(key: str) -> str:
    """The beginning of a key, which lists show."""
    return key[:LISTED_LENGTH]


def key_hash(key: str) -> bytes:
    """What is stored of a key. Looking it up by equality reveals nothing about the key, which has 256 random bits."""
    return hashlib.sha256(key.encode()).digest()
