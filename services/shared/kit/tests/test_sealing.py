"""Sealed texts: open for who has the key, in their place, and for nobody else."""

from __future__ import annotations

import pytest
from crewmesh_kit.sealing import MasterKeys, UnsealableError

MASTER = "the-first-master-key"
NEXT = "the-second-master-key"
CANARY = "sk-canary-1234567890"


def test_what_was_sealed_opens_again() -> None:
    key, wrapped = MasterKeys(MASTER).new_data_key("org_1")
    sealed = key.seal(CANARY, "account/1")
    kept, anew = MasterKeys(MASTER).data_key(wrapped, "org_1")
    assert (kept.open(sealed, "account/1"), anew) == (CANARY, None)
    assert CANARY.encode() not in sealed
    assert key.seal(CANARY, "account/1") != sealed


def test_it_opens_nowhere_else() -> None:
    keys = MasterKeys(MASTER)
    key, wrapped = keys.new_data_key("org_1")
    other, _ = keys.new_data_key("org_1")
    sealed = key.seal(CANARY, "account/1")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for who, what, where in (
        (key, sealed, "account/2"),
        (other, sealed, "account/1"),
        (key, changed, "account/1"),
        (key, b"", "account/1"),
    ):
        with pytest.raises(UnsealableError):
            who.open(what, where)
    with pytest.raises(UnsealableError):
        keys.data_key(wrapped, "org_2")
    with pytest.raises(UnsealableError):
        MasterKeys(NEXT).data_key(wrapped, "org_1")


def test_a_new_master_key_takes_over() -> None:
    key, wrapped = MasterKeys(MASTER).new_data_key("org_1")
    sealed = key.seal(CANARY, "here")
    kept, anew = MasterKeys(f"{NEXT} {MASTER}").data_key(wrapped, "org_1")
    assert kept.open(sealed, "here") == CANARY
    assert anew is not None
    alone, again = MasterKeys(NEXT).data_key(anew, "org_1")
    assert (alone.open(sealed, "here"), again) == (CANARY, None)


@pytest.mark.parametrize("text", ["", "  ", "short", f"{MASTER} short"])
def test_a_master_key_has_a_length(text: str) -> None:
    with pytest.raises(ValueError, match="master key"):
        MasterKeys(text)
