"""What a login hands out, and what is stored of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A login as it begins or goes on: what the browser keeps in cookies, and what its page sends along."""

    session: str
    access_token: str
    access_expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime
    csrf_token: str
    # None when the person belongs to none.
    organization: str | None
    # Whether people come by https, so that the cookies never travel without.
    over_https: bool = True


@dataclass(frozen=True, slots=True)
class StoredSession:
    id: str
    user: str
    # Where it works, as long as its person belongs there.
    organization: str | None
    refresh_sha256: bytes
    previous_sha256: bytes | None
    expires_at: datetime
    # Neither ended nor over.
    lives: bool
    # The token before the present one was exchanged so lately that requests sent together may still show it.
    in_grace: bool
