"""Refresh tokens: each follows from the one before, so that many who show the same one get the same next one.

A token is ``<session id>.<32 random bytes and their mark>``. The mark, a MAC under the master key, tells a token that
we gave out from one that somebody made up, without a question to the database: only a real one can end a session by
coming back after its time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass

from crewmesh_gateway.signing_keys.master import MasterKey

_MARK_BYTES = 16
_TOKEN = re.compile(r"(ses_[0-9a-f]{32})\.([A-Za-z0-9_-]{64})")


@dataclass(frozen=True, slots=True)
class RefreshToken:
    session: str
    text: str

    def digest(self) -> bytes:
        """What is stored of it."""
        return hashlib.sha256(self.text.encode()).digest()


class RefreshTokens:
    def __init__(self, master: MasterKey) -> None:
        self._master = master

    def first(self, session: str) -> RefreshToken:
        return self._token(session, os.urandom(32))

    def after(self, token: RefreshToken) -> RefreshToken:
        return self._token(token.session, self._master.mac("refresh tokens", token.text))

    def read(self, text: str) -> RefreshToken | None:
        """The token, when it is one that we gave out."""
        found = _TOKEN.fullmatch(text)
        if found is None:
            return None
        session, secret = found[1], base64.urlsafe_b64decode(found[2])
        marked = hmac.compare_digest(secret[32:], self._mark(session, secret[:32]))
        return RefreshToken(session, text) if marked else None

    def csrf_of(self, session: str) -> str:
        """What a page that may read our cookies sends along, to show that it may."""
        return _text(self._master.mac("csrf tokens", session))

    def _token(self, session: str, random: bytes) -> RefreshToken:
        return RefreshToken(session, f"{session}.{_text(random + self._mark(session, random))}")

    def _mark(self, session: str, random: bytes) -> bytes:
        return self._master.mac("marks of refresh tokens", f"{session}.{random.hex()}")[:_MARK_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
