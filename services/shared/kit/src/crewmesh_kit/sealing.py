"""Secrets at rest: AES-256-GCM, a data key per owner, and data keys wrapped by a master key from the secret store.

Whoever has the database alone can read nothing, and forgetting an owner's data key makes all that was sealed with it
unreadable, also in backups. What is sealed is bound to its place: moved to another row it does not open.

The master secret is a text of one or several keys, separated by spaces. The first wraps, all unwrap: a new one is put
in front of the old, data keys are wrapped anew as they are met, and then the old one can go.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_NAME = 4
_VERSION = b"\x01"
_DATA_KEY = 32
_SHORTEST_MASTER = 16


class UnsealableError(Exception):
    """It was not sealed with this key for this place, or was changed since."""


class MasterKeys:
    def __init__(self, text: str) -> None:
        keys = text.split()
        if not keys or any(len(key) < _SHORTEST_MASTER for key in keys):
            raise ValueError(f"a master key is a text of at least {_SHORTEST_MASTER} characters without spaces")
        derived = [hashlib.sha256(b"crewmesh master key\0" + key.encode()).digest() for key in keys]
        self._keys = {_name_of(key): key for key in derived}
        self._present = _name_of(derived[0])

    def new_data_key(self, owner: str) -> tuple[DataKey, bytes]:
        """A key for what this owner seals, and the form in which it is kept."""
        key = secrets.token_bytes(_DATA_KEY)
        return DataKey(key), self._wrapped(key, owner)

    def data_key(self, wrapped: bytes, owner: str) -> tuple[DataKey, bytes | None]:
        """The key that was kept; and a new form to keep it in, when it was wrapped with an older master key."""
        name = wrapped[len(_VERSION) : len(_VERSION) + _NAME]
        master = self._keys.get(name)
        if master is None or wrapped[: len(_VERSION)] != _VERSION:
            raise UnsealableError("none of the master keys wrapped this data key")
        key = _opened(master, wrapped[len(_VERSION) + _NAME :], owner)
        return DataKey(key), None if name == self._present else self._wrapped(key, owner)

    def _wrapped(self, key: bytes, owner: str) -> bytes:
        return _VERSION + self._present + _sealed(self._keys[self._present], key, owner)


class DataKey:
    """Seals texts for one owner. ``place`` is where a text is kept; it opens nowhere else."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, text: str, place: str) -> bytes:
        return _sealed(self._key, text.encode(), place)

    def open(self, sealed: bytes, place: str) -> str:
        return _opened(self._key, sealed, place).decode()


def _name_of(master: bytes) -> bytes:
    return hashlib.sha256(b"name\0" + master).digest()[:_NAME]


def _sealed(key: bytes, content: bytes, place: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, content, place.encode())


def _opened(key: bytes, sealed: bytes, place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode())
    except (InvalidTag, ValueError) as error:
        raise UnsealableError("it was sealed with another key or for another place, or was changed") from error
