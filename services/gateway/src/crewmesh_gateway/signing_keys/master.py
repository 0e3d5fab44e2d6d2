"""The one secret of the gateway, ``session-master-key``, from which every other secret of logins follows.

Each purpose has a key of its own, so that what was made for one proves nothing for another. With another master key
everybody has to log in again, and nothing else is lost.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MASTER_KEY = "session-master-key"
_NONCE_BYTES = 12
_SHORTEST = 32


class MasterKeyTooShort(ValueError):  # noqa: N818  it says what is wrong with the secret
    """Whoever guesses it can make logins, so it must not be guessable."""


class Unsealable(ValueError):  # noqa: N818  it says what is wrong with the stored bytes
    """Not sealed with this master key for this purpose, or damaged."""


class MasterKey:
    def __init__(self, secret: str) -> None:
        if len(secret) < _SHORTEST:
            raise MasterKeyTooShort(
                f"the secret {MASTER_KEY} has {len(secret)} characters; make it {_SHORTEST} random ones or more"
            )
        self._secret = secret.encode()

    def mac(self, purpose: str, text: str) -> bytes:
        """32 bytes that only who knows the secret can make for this text."""
        return hmac.new(self._key(purpose), text.encode(), hashlib.sha256).digest()

    def seal(self, purpose: str, plain: bytes, *, about: str) -> bytes:
        """Encrypted; it opens again only as something ``about`` the same."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._key(purpose)).encrypt(nonce, plain, about.encode())

    def open(self, purpose: str, sealed: bytes, *, about: str) -> bytes:
        try:
            return AESGCM(self._key(purpose)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError) as error:
            raise Unsealable(f"what is stored about {about} was sealed with another {MASTER_KEY}") from error

    def _key(self, purpose: str) -> bytes:
        return hmac.new(self._secret, purpose.encode(), hashlib.sha256).digest()
