"""Time-based one-time passwords, RFC 6238 over RFC 4226: SHA-1, six digits, thirty seconds, as every app has them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from urllib.parse import quote, urlencode

STEP_SECONDS = 30
DIGITS = 6
_SECRET_BYTES = 20
# Clocks of phones differ, and typing takes time.
_STEPS_AROUND = 1


def new_secret() -> bytes:
    return os.urandom(_SECRET_BYTES)


def code_at(secret: bytes, step: int, *, digits: int = DIGITS) -> str:
    mac = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: bytes, code: str, *, now: float) -> int | None:
    """The time step that the code is of, when that is now or next to it."""
    present = int(now) // STEP_SECONDS
    found = None
    for step in range(present - _STEPS_AROUND, present + _STEPS_AROUND + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            found = step
    return found


def as_text(secret: bytes) -> str:
    """As it is typed into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def as_uri(secret: bytes, *, account: str, issuer: str = "Crewmesh") -> str:
    """As a QR code carries it."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='@')}"
    return f"otpauth://totp/{label}?{urlencode({'secret': as_text(secret), 'issuer': issuer})}"
