"""What an API key is, as text in a caller's hands and as a row of ours.

``cm_<prefix>_<secret>``: the prefix finds the row, the secret proves the right to use it. The secret is 256 random
bits, so a plain SHA-256 of it is the right thing to store: slow hashes (argon2, bcrypt) exist to make *guessable*
secrets expensive to guess, and nobody searches 2^256. They would only make every cold request slow, and hand attackers
a lever.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

_TEXT = re.compile(r"cm_([A-Za-z0-9]{6,32})_([A-Za-z0-9_-]{32,128})", re.ASCII)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """The two parts of a key that somebody showed; it has the right form, no more is known."""

    prefix: str
    secret: str

    @classmethod
    def parse(cls, text: str) -> PresentedKey | None:
        found = _TEXT.fullmatch(text)
        return cls(prefix=found[1], secret=found[2]) if found else None

    @classmethod
    def generate(cls) -> PresentedKey:
        return cls(prefix=secrets.token_hex(6), secret=secrets.token_urlsafe(32))

    @property
    def text(self) -> str:
        return f"cm_{self.prefix}_{self.secret}"

    def digest(self) -> bytes:
        """What is stored in place of the secret."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()

    def __repr__(self) -> str:
        return f"PresentedKey(cm_{self.prefix}_…)"  # the secret must not reach a log by way of a traceback


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What is kept of a key's secret, and for how long the key holds."""

    secret_sha256: bytes
    expires_at: datetime | None
    revoked_at: datetime | None

    def admits(self, shown: PresentedKey, *, now: datetime | None = None) -> bool:
        """Whether the secret is this key's (compared in constant time) and the key still holds."""
        now = now or datetime.now(UTC)
        same = hmac.compare_digest(self.secret_sha256, shown.digest())
        return (
            same
            and (self.revoked_at is None or self.revoked_at > now)
            and (self.expires_at is None or self.expires_at > now)
        )
