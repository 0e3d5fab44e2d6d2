"""Secrets under a passphrase: a key by scrypt, then AES-GCM, which notices a wrong passphrase and a changed byte."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from crewmesh_tools.backup.errors import BackupError

SHORTEST_PASSPHRASE = 12
_CONTEXT = b"crewmesh secrets 1"
# 32 MiB and some 0.1 s for each guess.
_COST = 2**15


class _Sealed(BaseModel):
    model_config = ConfigDict(frozen=True)

    # Bounded, for a changed file must not make us fill the memory.
    cost: int = Field(ge=2**14, le=2**20)
    salt: Base64Bytes
    nonce: Base64Bytes
    text: Base64Bytes


def seal(plain: bytes, passphrase: str) -> bytes:
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise BackupError(f"The passphrase is too short: {SHORTEST_PASSPHRASE} characters are the least.")
    salt, nonce = os.urandom(16), os.urandom(12)
    text = AESGCM(_key(passphrase, salt, _COST)).encrypt(nonce, plain, _CONTEXT)
    return _Sealed.model_construct(cost=_COST, salt=salt, nonce=nonce, text=text).model_dump_json().encode()


def unseal(sealed: bytes, passphrase: str) -> bytes:
    try:
        read = _Sealed.model_validate_json(sealed)
        return AESGCM(_key(passphrase, read.salt, read.cost)).decrypt(read.nonce, read.text, _CONTEXT)
    except (ValidationError, ValueError) as error:
        raise BackupError("The sealed secrets are damaged.") from error
    except InvalidTag as error:
        raise BackupError("The secrets cannot be opened: this is not the passphrase they were sealed with.") from error


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase.encode())
