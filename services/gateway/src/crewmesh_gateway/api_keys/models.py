"""What an API key is, as text in a caller's hands.

The secret is 256 random bits, so a plain SHA-256 of the text is the right thing to store: slow hashes (argon2, bcrypt)
exist to make *guessable* secrets expensive to guess, and nobody searches 2^256. They would only make every cold request
slow, and hand attackers a lever.

A secret store that was filled before keys had checksums holds a first key ``cm_<prefix>_<secret>``. It is still read,
so that such an installation starts and its key works; none is made any more, and rotating it gives one of the new form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from crewmesh_contracts import api_keys

BEGINNING = "cm_"
_PREFIX, _SECRET = r"([A-Za-z0-9]{6,32})", r"([A-Za-z0-9_-]{32,128})"
_TEXT = re.compile(rf"{api_keys.BEGINNING}{_PREFIX}_[A-Za-z0-9]{{38,134}}", re.ASCII)
# Not a key of today with a typo in its beginning.
_FORMER_TEXT = re.compile(rf"{BEGINNING}(?!live){_PREFIX}_{_SECRET}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that somebody showed; it has the right form, no more is known."""

    text: str
    prefix: str
    # What the stored hash is of.
    proof: str

    @classmethod
    def parse(cls, text: str) -> PresentedKey | None:
        if found := _TEXT.fullmatch(text):
            return cls(text, prefix=found[1], proof=text) if api_keys.is_whole(text) else None
        found = _FORMER_TEXT.fullmatch(text)
        return cls(text, prefix=found[1], proof=found[2]) if found else None

    @classmethod
    def generate(cls) -> PresentedKey:
        text = api_keys.new_text()
        return cls(text, prefix=text.split("_")[2], proof=text)

    def digest(self) -> bytes:
        """What is stored in place of the secret."""
        return hashlib.sha256(self.proof.encode("ascii")).digest()

    def proves(self, digest: bytes) -> bool:
        """Whether this is the key that the stored digest is of; compared in constant time."""
        return hmac.compare_digest(digest, self.digest())

    def __repr__(self) -> str:
        return f"PresentedKey({BEGINNING}…{self.prefix}_…)"  # the secret must not reach a log by way of a traceback
