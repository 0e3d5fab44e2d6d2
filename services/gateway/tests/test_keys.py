"""Keys as text: their form, their digest, what is never shown."""

from __future__ import annotations

import pytest
from crewmesh_gateway.api_keys.errors import TooManyWrongKeys
from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.settings import ThrottleSettings
from hypothesis import given
from hypothesis import strategies as st

from .gateway import key_of


def test_a_generated_key_reads_back_and_hides_its_secret() -> None:
    key = PresentedKey.generate()
    assert PresentedKey.parse(key.text) == key
    beginning, live, prefix, rest = key.text.split("_")
    assert (beginning, live, prefix) == ("cm", "live", key.prefix)
    assert len(rest) == 43 + 6, "256 bits in base 62, and the checksum"
    assert rest[:10] not in repr(key)
    assert key.proves(key.digest())
    assert not PresentedKey.generate().proves(key.digest())


def test_the_first_key_of_an_older_secret_store_is_read_too() -> None:
    key = PresentedKey.parse("cm_0123456789ab_" + "s-_" * 15)
    assert key is not None
    assert (key.prefix, key.proof) == ("0123456789ab", "s-_" * 15)


def test_a_key_has_no_second_form() -> None:
    key = key_of("0123456789ab", "s" * 43)
    for other in ("cm_0123456789ab_" + "s" * 43, key.text.replace("cm_live_", "cm_")):
        shown = PresentedKey.parse(other)
        assert shown is None or not shown.proves(key.digest())


@pytest.mark.parametrize(
    "text",
    [
        *("", "cm_", "cm_abcdef_", "cm_abcdef_short", "sk_abcdef_" + "x" * 43, "cm_ab!def_" + "x" * 43),
        *("cm__" + "x" * 43, "cm_live_", "cm_live_abcdef_" + "x" * 49, "cm_live_abcdef_" + "x" * 43),
    ],
)
def test_other_text_is_no_key(text: str) -> None:
    assert PresentedKey.parse(text) is None


@given(st.integers(0, 68), st.characters(codec="ascii"))
def test_every_single_typo_is_noticed(position: int, typo: str) -> None:
    text = key_of("0123456789ab", "Hk3v" * 10 + "abc").text
    mistyped = text[:position] + typo + text[position + 1 :]
    assert PresentedKey.parse(mistyped) is None or mistyped == text


@given(st.integers(1, 69))
def test_every_key_that_was_cut_off_is_noticed(length: int) -> None:
    assert PresentedKey.parse(key_of("0123456789ab", "Hk3v" * 10 + "abc").text[:-length]) is None


@given(st.text())
def test_any_text_is_read_without_an_accident(text: str) -> None:
    parsed = PresentedKey.parse(text)
    assert parsed is None or parsed.text == text


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
