"""Codes that somebody keeps on paper. Fifty random bits each, behind a login and a throttle: SHA-256 is enough."""

from __future__ import annotations

import hashlib
import re
import secrets

HOW_MANY = 10
# Without what is mistaken for something else when it is read from paper.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUP = 5
_CODE = re.compile(rf"[{_ALPHABET}]{{{2 * _GROUP}}}")


def new_codes() -> list[str]:
    return [f"{_group()}-{_group()}" for _ in range(HOW_MANY)]


def digest(code: str) -> bytes | None:
    """Of a code as somebody typed it; nothing when it cannot be one."""
    plain = re.sub(r"[\s-]", "", code).lower()
    return hashlib.sha256(plain.encode()).digest() if _CODE.fullmatch(plain) else None


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))
