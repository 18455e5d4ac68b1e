"""Seals secrets that the platform must read back, such as the passwords of project roles, with ZMESH_SECRET_KEY."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
FORMAT = b"\x01"
ID_BYTES = 4


class SealingError(Exception):
    """A key is malformed, or no key is the one that a secret was sealed with."""


class Sealer:
    """AES-256-GCM; what is sealed for one purpose cannot be opened for another.

    A sealed text begins with a format and the id of its key, the first bytes of the key's SHA-256. Texts sealed before
    ids existed may have been sealed with any key.
    """

    def __init__(self, keys: str) -> None:
        """Keys separated by commas, each 32 bytes in URL-safe base64: the first one seals, all of them open."""
        self._ciphers = {_id(raw): AESGCM(raw) for raw in map(_raw, keys.split(","))}
        self._current = next(iter(self._ciphers))

    @staticmethod
    def new_key() -> str:
        """A new random key."""
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()

    def seal(self, secret: str, purpose: str) -> bytes:
        """Format, key id, nonce and ciphertext of a secret."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, secret.encode(), purpose.encode())
        return FORMAT + self._current + nonce + sealed

    def open(self, sealed: bytes, purpose: str) -> str:
        """The original secret. Raises SealingError if the key or the purpose differs."""
        head, body = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES :]
        named = self._ciphers.get(head[1:]) if head[:1] == FORMAT else None
        attempts = [(named, body)] if named is not None else []
        attempts += [(cipher, sealed) for cipher in self._ciphers.values()]  # from before ids existed
        for cipher, text in attempts:
            try:
                return cipher.decrypt(text[:NONCE_BYTES], text[NONCE_BYTES:], purpose.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        raise SealingError("Cannot open a stored secret: ZMESH_SECRET_KEY lacks the key it was sealed with")

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key sealed this."""
        return sealed.startswith(FORMAT + self._current)


def _raw(key: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(key.strip().encode())
    except (binascii.Error, ValueError) as error:
        raise SealingError("ZMESH_SECRET_KEY is not base64") from error
    if len(raw) != 32:
        raise SealingError(f"a key in ZMESH_SECRET_KEY has {len(raw)} bytes instead of 32")
    return raw


def _id(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:ID_BYTES]
