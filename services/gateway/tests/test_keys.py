"""Keys as text: their form, their digest, what is never shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_gateway.api_keys.errors import TooManyWrongKeys
from crewmesh_gateway.api_keys.models import PresentedKey, StoredSecret
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.settings import ThrottleSettings
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_generated_key_reads_back_and_hides_its_secret() -> None:
    key = PresentedKey.generate()
    assert PresentedKey.parse(key.text) == key
    assert key.secret not in repr(key)
    assert len(key.secret) == 43, "256 bits in base64"


@pytest.mark.parametrize(
    "text",
    ["", "cm_", "cm_abcdef_", "cm_abcdef_short", "sk_abcdef_" + "x" * 43, "cm_ab!def_" + "x" * 43, "cm__" + "x" * 43],
)
def test_other_text_is_no_key(text: str) -> None:
    assert PresentedKey.parse(text) is None


@given(st.text())
def test_any_text_is_read_without_an_accident(text: str) -> None:
    parsed = PresentedKey.parse(text)
    assert parsed is None or parsed.text == text


def test_a_key_admits_its_secret_only_and_only_while_it_holds() -> None:
    shown = PresentedKey.generate()
    key = StoredSecret(shown.digest(), expires_at=None, revoked_at=None)
    assert key.admits(shown, now=NOW)
    assert not key.admits(PresentedKey(shown.prefix, "y" * 43), now=NOW)
    assert not replace(key, revoked_at=NOW).admits(shown, now=NOW)
    assert not replace(key, expires_at=NOW).admits(shown, now=NOW)
    assert replace(key, expires_at=NOW + timedelta(seconds=1)).admits(shown, now=NOW)


def test_the_throttle_lets_a_burst_through_then_a_trickle() -> None:
    now = 0.0
    throttle = WrongKeyThrottle(ThrottleSettings(burst=3, per_second=0.5), now=lambda: now)
    for _ in range(3):
        throttle.admit("a")
        throttle.failed("a")
    with pytest.raises(TooManyWrongKeys) as refused:
        throttle.admit("a")
    assert refused.value.headers["Retry-After"] == "2"
    throttle.admit("b")
    now = 2.0
    throttle.admit("a")


def test_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = WrongKeyThrottle(ThrottleSettings(burst=1, per_second=0.001, addresses=10))
    for number in range(11):
        throttle.failed(f"10.0.0.{number}")
    throttle.admit("10.0.0.0")  # forgotten, the others are not
    with pytest.raises(TooManyWrongKeys):
        throttle.admit("10.0.0.10")
