"""What tells requests apart."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_kit.db.claims import fingerprint_of
from crewmesh_kit.errors import InvalidRequest


class Request(Contract):
    arguments: JsonObject


def test_requests_are_told_apart_by_what_they_hold() -> None:
    assert fingerprint_of(Request(arguments={"a": 1})) == fingerprint_of(Request(arguments={"a": 1}))
    assert fingerprint_of(Request(arguments={"a": 1})) != fingerprint_of(Request(arguments={"a": 2}))


def test_half_a_character_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidRequest):
        fingerprint_of(Request(arguments={"a": "\ud800"}))
