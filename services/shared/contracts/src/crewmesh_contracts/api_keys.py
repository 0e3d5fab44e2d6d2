"""What an API key looks like, for whoever makes one or wants to know whether one was copied whole.

``cm_live_<prefix>_<secret><checksum>``: the prefix finds the key, the secret proves the right to use it, the checksum
(the CRC32 of all before it, in six characters) tells a typo from a wrong key without asking anybody, and lets scanners
be sure of what they found.
"""

from __future__ import annotations

import secrets
import zlib

BEGINNING = "cm_live_"
CHECKSUM_LENGTH = 6
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX_BYTES = 6
# 43 digits of base 62 are 256 bits.
_SECRET_LENGTH = 43


def new_text() -> str:
    """A key that nobody has."""
    secret = "".join(secrets.choice(_DIGITS) for _ in range(_SECRET_LENGTH))
    return text_of(secrets.token_hex(_PREFIX_BYTES), secret)


def text_of(prefix: str, secret: str) -> str:
    unchecked = f"{BEGINNING}{prefix}_{secret}"
    return unchecked + checksum(unchecked)


def is_whole(text: str) -> bool:
    """Whether the text ends with the checksum of what comes before."""
    return text.isascii() and checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def checksum(text: str) -> str:
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
