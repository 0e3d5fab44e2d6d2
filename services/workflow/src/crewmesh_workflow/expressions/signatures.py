"""The functions and operators of the CEL standard, and what each takes and gives.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ANY = "any"
_PARTS = ("Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Month")
_PARTS_OF_BOTH = ("Hours", "Milliseconds", "Minutes", "Seconds")
_LISTED = """
size(string)=int string.size()=int size(bytes)=int bytes.size()=int
size(list)=int list.size()=int size(map)=int map.size()=int
string.contains(string)=bool string.startsWith(string)=bool string.endsWith(string)=bool
string.matches(string)=bool matches(string,string)=bool
bool(bool)=bool bool(string)=bool
bytes(bytes)=bytes bytes(string)=bytes
double(double)=double double(int)=double double(uint)=double double(string)=double
int(int)=int int(uint)=int int(double)=int int(string)=int int(timestamp)=int
uint(uint)=uint uint(int)=uint uint(double)=uint uint(string)=uint
string(string)=string string(bool)=string string(int)=string string(uint)=string string(double)=string
string(bytes)=string string(timestamp)=string string(duration)=string
duration(duration)=duration duration(string)=duration
timestamp(timestamp)=timestamp timestamp(string)=timestamp timestamp(int)=timestamp
dyn(any)=any type(any)=type
"""
_WRITTEN = re.compile(r"(?:(\w+)\.)?(\w+)\(([\w,]*)\)=(\w+)")


@dataclass(frozen=True, slots=True)
class Signature:
    """``takes`` begins with what a method is called on."""

    name: str
    method: bool
    takes: tuple[str, ...]
    gives: str | None

    def fits(self, kinds: tuple[str | None, ...]) -> bool:
        """Whether values of these kinds can be given; no kind: it is not known yet."""
        if len(kinds) != len(self.takes):
            return False
        return all(kind in (None, wanted) or wanted == _ANY for kind, wanted in zip(kinds, self.takes, strict=True))


def _functions() -> Iterator[Signature]:
    for on, name, given, gives in _WRITTEN.findall(_LISTED):
        takes = tuple(kind for kind in (on, *given.split(",")) if kind)
        yield Signature(name, bool(on), takes, None if gives == _ANY else gives)
    for part in (*_PARTS, *_PARTS_OF_BOTH):
        yield Signature(f"get{part}", True, ("timestamp",), "int")
        yield Signature(f"get{part}", True, ("timestamp", "string"), "int")
    for part in _PARTS_OF_BOTH:
        yield Signature(f"get{part}", True, ("duration",), "int")


def _operators() -> Iterator[Signature]:
    numbers = ("int", "uint", "double")
    for sign in "+-*/":
        yield from (Signature(sign, False, (kind, kind), kind) for kind in numbers)
    yield from (Signature("%", False, (kind, kind), kind) for kind in ("int", "uint"))
    yield from (Signature("-", False, (kind,), kind) for kind in ("int", "double"))
    yield from (Signature("+", False, (kind, kind), kind) for kind in ("string", "bytes", "list", "duration"))
    yield Signature("+", False, ("timestamp", "duration"), "timestamp")
    yield Signature("+", False, ("duration", "timestamp"), "timestamp")
    yield Signature("-", False, ("timestamp", "duration"), "timestamp")
    yield Signature("-", False, ("timestamp", "timestamp"), "duration")
    yield Signature("-", False, ("duration", "duration"), "duration")
    for sign in ("<", "<=", ">", ">="):
        yield from (Signature(sign, False, (left, right), "bool") for left in numbers for right in numbers)
        for kind in ("string", "bytes", "bool", "timestamp", "duration"):
            yield Signature(sign, False, (kind, kind), "bool")
    yield from (Signature(sign, False, (_ANY, _ANY), "bool") for sign in ("==", "!="))
    yield from (Signature("in", False, (_ANY, kind), "bool") for kind in ("list", "map"))
    yield from (Signature(sign, False, ("bool", "bool"), "bool") for sign in ("&&", "||"))
    yield Signature("!", False, ("bool",), "bool")


def _by_name(found: Iterator[Signature]) -> dict[str, list[Signature]]:
    named: dict[str, list[Signature]] = {}
    for signature in found:
        named.setdefault(signature.name, []).append(signature)
    return named


FUNCTIONS = _by_name(_functions())
OPERATORS = _by_name(_operators())
