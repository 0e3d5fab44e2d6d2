"""The form of API keys: whoever makes one, makes the same form."""

from __future__ import annotations

import re

from crewmesh_contracts import api_keys


def test_a_new_key_has_the_form_and_its_checksum() -> None:
    text = api_keys.new_text()
    assert re.fullmatch(r"cm_live_[0-9a-f]{12}_[0-9A-Za-z]{49}", text)
    assert api_keys.is_whole(text)
    assert api_keys.new_text() != text


def test_the_checksum_stays_what_it_is() -> None:
    # Keys are out in the world: another way to count would lock all of them out.
    assert api_keys.text_of("0123456789ab", "s" * 43) == "cm_live_0123456789ab_" + "s" * 43 + "3IR71W"


def test_what_was_cut_off_or_mistyped_is_not_whole() -> None:
    text = api_keys.new_text()
    assert not api_keys.is_whole(text[:-1])
    assert not api_keys.is_whole(text + "0")
    assert not api_keys.is_whole("")
    assert not api_keys.is_whole(text + "é")
