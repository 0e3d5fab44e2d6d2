"""YAML as JSON people write it: text in, JSON value out, and back, with nothing in between that surprises.

What is read is built from the parser's events and never through tags, so nothing but maps, lists and scalars can come
of it. A plain scalar is a number, true, false or null only where JSON would write it so: ``no``, ``on``, ``0123``,
``1:30`` and dates stay text. Keys are texts and unique; what aliases expand to is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml
from crewmesh_contracts.base import JsonObject, JsonScalar, JsonValue

MOST_VALUES = 100_000
DEEPEST = 100

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][-+]?[0-9]{1,3})?")
# Characters that YAML takes for a break, or that nobody sees: they are written escaped.
_UNUSUAL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_CONSTANTS: dict[str, JsonScalar] = {"": None, "~": None, "null": None, "true": True, "false": False}


class _Mark(Protocol):
    """Where something begins. The parser in C and the one in Python have each a type of their own for it."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class YamlError(ValueError):
    """What is wrong with the text, and in which line."""

    def __init__(self, message: str, mark: _Mark | None = None) -> None:
        place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        super().__init__(place + message)


def read_yaml(text: str) -> JsonValue:
    """The one document in ``text``."""
    return _read(text, most_documents=1)[0]


def read_yaml_documents(text: str, *, most: int) -> list[JsonValue]:
    """Every document in ``text``, which stand between lines of ``---``; bounds hold for all of them together."""
    return _read(text, most_documents=most)


def _read(text: str, *, most_documents: int) -> list[JsonValue]:
    try:
        return list(_Reading(yaml.parse(text, Loader=yaml.CSafeLoader)).documents(most_documents))
    except UnicodeEncodeError as error:
        raise YamlError("it holds half of a surrogate pair") from error
    except yaml.MarkedYAMLError as error:
        raise YamlError(error.problem or "this is not YAML", error.problem_mark) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0]) from error


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: JsonValue
    size: int


@dataclass(slots=True)
class _Reading:
    """One pass over the events of a document."""

    events: Iterator[yaml.Event]
    values: int = 0
    anchors: dict[str, _Anchored] = field(default_factory=dict[str, _Anchored])

    def documents(self, most: int) -> Iterator[JsonValue]:
        self._next()  # the stream begins
        begun = self._next()
        if isinstance(begun, yaml.StreamEndEvent):
            raise YamlError("there is nothing in it")
        found = 0
        while not isinstance(begun, yaml.StreamEndEvent):
            found += 1
            if found > most:
                raise YamlError(_too_many(most), begun.start_mark)
            self.anchors.clear()
            yield self._value(self._next(), 0)
            self._next()  # the document ends
            begun = self._next()

    def _next(self) -> yaml.Event:
        return next(self.events)

    def _value(self, event: yaml.Event, depth: int) -> JsonValue:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if not isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            raise YamlError("a value is missing here", event.start_mark)
        if event.tag is not None and event.tag != "!":
            raise YamlError(f"the tag {event.tag} means nothing here; leave it away", event.start_mark)
        if depth > DEEPEST:
            raise YamlError(f"this is nested more than {DEEPEST} deep", event.start_mark)
        before = self.values
        self._count(1, event)
        value = self._built(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, self.values - before)
        return value

    def _built(self, event: yaml.Event, depth: int) -> JsonValue:
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(depth + 1)
        if isinstance(event, yaml.MappingStartEvent):
            return self._map(depth + 1)
        assert isinstance(event, yaml.ScalarEvent)
        return _plain(event.value) if event.implicit[0] else event.value

    def _alias(self, event: yaml.AliasEvent) -> JsonValue:
        anchored = self.anchors.get(event.anchor or "")
        if anchored is None:
            raise YamlError(f"*{event.anchor} names nothing that is complete before it", event.start_mark)
        self._count(anchored.size, event)
        return anchored.value

    def _count(self, values: int, event: yaml.Event) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            raise YamlError(f"this holds more than {MOST_VALUES} values, aliases counted in full", event.start_mark)

    def _list(self, depth: int) -> list[JsonValue]:
        items: list[JsonValue] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, depth))
        return items

    def _map(self, depth: int) -> JsonObject:
        members: JsonObject = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlError("a key must be a text", event.start_mark)
            if event.value in members:
                raise YamlError(f"the key {event.value!r} is there twice", event.start_mark)
            members[event.value] = self._value(self._next(), depth)
        return members


def _too_many(most: int) -> str:
    if most == 1:
        return "there is a second document; write one per file"
    return f"there are more than {most} documents; send the rest by themselves"


def _plain(text: str) -> JsonValue:
    """What a scalar without quotes stands for."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


class _Dumper(yaml.SafeDumper):
    """Quotes what would be read as something else, writes long texts as blocks, and uses no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _write_text(_: yaml.SafeDumper, text: str) -> yaml.Node:
    if _UNUSUAL.search(text):
        style = '"'
    elif "\n" in text:
        style = "|"
    else:
        style = None if isinstance(_plain(text), str) else "'"
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def write_yaml(*documents: JsonValue) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
