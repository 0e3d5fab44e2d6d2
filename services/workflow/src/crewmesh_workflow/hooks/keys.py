"""Addresses and secrets of webhooks. They follow from one master key and are stored nowhere, yet can be shown again.

An address names its trigger and proves that it was given out: whoever makes one up is refused before the database is
asked. Rotation raises a generation, and everything of the old one differs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

_ID_PREFIX = "trg_"
_ID_BYTES = 16
_GENERATION_BYTES = 2
_PROOF_BYTES = 15  # together 33 bytes, which base64 writes without padding
_LENGTH = 44


@dataclass(frozen=True, slots=True)
class Address:
    """Which trigger an address belongs to."""

    trigger: str
    generation: int


class HookKeys:
    def __init__(self, master: str) -> None:
        self._master = master.encode()

    def token(self, address: Address) -> str:
        """The last part of the URL."""
        named = bytes.fromhex(address.trigger.removeprefix(_ID_PREFIX))
        named += address.generation.to_bytes(_GENERATION_BYTES)
        return base64.urlsafe_b64encode(named + self._proof(named)).decode()

    def address(self, token: str) -> Address | None:
        """What a token names, if it is one of ours."""
        if len(token) != _LENGTH:
            return None
        try:
            content = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        named, proof = content[:-_PROOF_BYTES], content[-_PROOF_BYTES:]
        if not hmac.compare_digest(proof, self._proof(named)):
            return None
        return Address(_ID_PREFIX + named[:_ID_BYTES].hex(), int.from_bytes(named[_ID_BYTES:]))

    def secret(self, trigger: str, generation: int) -> bytes:
        return self._derived(f"hook-secret:{trigger}:{generation}".encode())

    def _proof(self, named: bytes) -> bytes:
        return self._derived(b"hook-address:" + named)[:_PROOF_BYTES]

    def _derived(self, what: bytes) -> bytes:
        return hmac.new(self._master, what, hashlib.sha256).digest()
