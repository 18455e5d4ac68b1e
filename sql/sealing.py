"""Seals secrets that the platform must read back, such as the passwords of project roles, with ZMESH_SECRET_KEY."""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class SealingError(Exception):
    """The key is malformed, or is not the one a secret was sealed with."""


class Sealer:
    """AES-256-GCM under one key; what is sealed for one purpose does not open for another."""

    def __init__(self, key: str) -> None:
        """`key` is 32 bytes in URL-safe base64, as `new_key` makes them."""
        try:
            raw = base64.urlsafe_b64decode(key.encode())
        except (binascii.Error, ValueError) as error:
            raise SealingError("ZMESH_SECRET_KEY is not base64") from error
        if len(raw) != 32:
            raise SealingError(f"ZMESH_SECRET_KEY holds {len(raw)} bytes instead of 32")
        self._cipher = AESGCM(raw)

    @staticmethod
    def new_key() -> str:
        """A fresh random key."""
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()

    def seal(self, secret: str, purpose: str) -> bytes:
        """Nonce and ciphertext of a secret."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """The secret again. Raises SealingError where the key or the purpose is another."""
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], purpose.encode())
        except InvalidTag as error:
            raise SealingError(
                "A stored secret does not open: ZMESH_SECRET_KEY is not the one it was sealed with"
            ) from error
        return plain.decode()
