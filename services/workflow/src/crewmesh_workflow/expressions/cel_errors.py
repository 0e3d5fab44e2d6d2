"""What the CEL library says is wrong, in plain sentences; its own words are for those who write programs in Rust."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from crewmesh_workflow.expressions.cel_functions import FAILED

Table: TypeAlias = tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]

_LONGEST = 300
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ")
_INSTEAD = {
    "=": "write == to compare",
    "&": "write && for and",
    "|": "write || for or",
    "and": "write && for and",
    "AND": "write && for and",
    "or": "write || for or",
    "OR": "write || for or",
    "is": "write == to compare",
    "`": 'write names with other characters in brackets, as in steps["a-b"]',
    "{": "a condition is written without {{ }}",
    "}": "a condition is written without {{ }}",
}


def _unexpected(match: re.Match[str]) -> str:
    found = match[1].strip()
    if found == "<EOF>":
        return "something is missing at its end"
    if found[:1] in ("'", '"'):
        return "a text that begins there has no closing quote, or a \\ that means nothing"
    hint = _INSTEAD.get(found, _INSTEAD.get(found[:1], "") if not found[:1].isalnum() else "")
    return f"{found[:40]} does not belong there{'; ' if hint else ''}{hint}"


def _missing(match: re.Match[str]) -> str:
    return f"{match[1].strip(chr(39))} is missing"


_WRITTEN: Table = (
    (re.compile(r"Syntax error: mismatched input '(.*?)' expecting", re.DOTALL), _unexpected),
    (re.compile(r"Syntax error: extraneous input '(.*?)' expecting", re.DOTALL), _unexpected),
    (re.compile(r"Syntax error: no viable alternative at input '(.*?)'$", re.MULTILINE | re.DOTALL), _unexpected),
    (re.compile(r"Syntax error: token recognition error at: '(.*?)'$", re.MULTILINE | re.DOTALL), _unexpected),
    (re.compile(r"Syntax error: missing (\S+) at"), _missing),
    (re.compile(r"reserved identifier: (\w+)"), r"\1 is a word that CEL keeps for itself; no name can be so called"),
    (
        re.compile(r"unsupported syntax '?(\S+?)'?$", re.MULTILINE),
        r"\1 is not possible; has(…) tells whether a field is there",
    ),
    (re.compile(r"invalid argument to has"), "has needs a field, as in has(trigger.data.coupon)"),
    (re.compile(r"argument must be a simple name"), "first comes a name for an item, as in list.all(item, item > 0)"),
    (re.compile(r"invalid (?:u?int|double) literal"), "the number is too large"),
    (re.compile(r"invalid (string|bytes) literal"), "the text holds a \\ code that is no character"),
    (re.compile(r"(?i)recursion|nested too"), "it is nested too deeply"),
)
_RUN: Table = (
    (re.compile(r"^division by zero|^modulo by zero"), "something is divided by zero"),
    (re.compile(r"^index out of bounds: (.{1,40})"), r"a list has no position \1"),
    (re.compile(r"^Arithmetic overflow"), "a number, timestamp or duration leaves the range that is possible"),
    (
        re.compile(r"^Undefined variable or function: '(\w+)'"),
        lambda match: f"there is no {match[1].removeprefix('_')} here, or not for such a value",
    ),
    (re.compile(r"^Function '(u?int)' error: .*overflow"), r"\1 is given a number outside of its range"),
    (re.compile(r"^Function '(u?int|double)' error"), r"\1 is given a text that is no such number"),
    (re.compile(r"^Function 'timestamp' error"), "timestamp is given a text that is not as in 2026-03-01T08:00:00Z"),
    (
        re.compile(r"^Function 'duration' error"),
        "duration is given a text that is not as in 1h30m; units are h, m, s, ms, us and ns",
    ),
    (re.compile(r"^Function 'matches' error"), "the pattern of matches is not a regular expression (RE2)"),
    (re.compile(r"^Function '_?(\w+)' error"), r"\1 is given values that it does not take"),
    (re.compile(r"^Value of type \w+ cannot be used as a map key"), "an object's keys must be texts or whole numbers"),
    (re.compile(r"surrogates|Failed to convert P"), "its data holds a text or number that cannot be read"),
    (
        re.compile(r"^(?:No such overload|Unsupported (?:op|target)|Cannot (?:mix|index)|Values of|Unexpected|Method)"),
        "two values do not go together; CEL converts nothing by itself, so write double(…), int(…) or string(…)",
    ),
    (re.compile(r"^Invalid number of arg|^A function was called"), "a function is given too few or too many values"),
    (re.compile(r"^(?:Internal CEL error|Failed to execute)"), "it cannot be worked out; write it in a simpler way"),
)


def written_wrong(error: ValueError) -> str:
    """Why the library cannot read a condition, and where."""
    text = str(error)
    places = [*_PLACE.finditer(text)]
    for place, following in zip(places, [*places[1:], None], strict=True):
        said = text[place.end() : None if following is None else following.start()]
        sentence = _translated(_WRITTEN, said)
        if sentence is not None:
            line = "" if place[1] == "1" else f"line {place[1]}, "
            return f"{line}position {place[2]}: {sentence}"
    sentence = _translated(_WRITTEN, text[-_LONGEST:])
    return sentence or "it cannot be read; look for a quote or a bracket that is missing"


def no_value(error: Exception) -> str:
    """Why the library finds no value."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}; has(…) tells whether a field is there"
    text = str(error)
    ours = FAILED.search(text)
    if ours is not None:
        return ours[1]
    return _translated(_RUN, text) or f"it cannot be worked out ({' '.join(text.split())[:_LONGEST]})"


def _translated(table: Table, text: str) -> str | None:
    for pattern, sentence in table:
        match = pattern.search(text)
        if match is not None:
            return match.expand(sentence) if isinstance(sentence, str) else sentence(match)
    return None
