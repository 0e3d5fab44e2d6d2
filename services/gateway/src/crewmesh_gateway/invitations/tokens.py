"""The token that a link ends with: 256 random bits, of which a plain SHA-256 is kept (see api_keys/models)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkToken:
    text: str

    @classmethod
    def generate(cls) -> LinkToken:
        return cls(secrets.token_urlsafe(32))

    def digest(self) -> bytes:
        """What is stored in place of the text."""
        return hashlib.sha256(self.text.encode()).digest()

    def __repr__(self) -> str:
        return "LinkToken(…)"
