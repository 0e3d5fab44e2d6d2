"""A document in either of its two notations: text in, JSON value out, or a reason that says where and what."""

from __future__ import annotations

import json
from typing import Literal, NoReturn, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_kit.db.storable import deeper_than, storable, unfit_places
from crewmesh_kit.documents.yaml_text import DEEPEST, YamlError, read_yaml_documents
from crewmesh_kit.errors import InvalidRequest, UnsupportedMediaType

Notation: TypeAlias = Literal["json", "yaml"]

MEDIA_TYPES: dict[Notation, str] = {"json": "application/json", "yaml": "application/yaml"}
_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


class UnreadableDocument(InvalidRequest):
    """The text is not the JSON or YAML that its content type or file name says. The detail names line and column."""

    slug, title = "unreadable-document", "Unreadable document"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The definition cannot be read: {reason}.")
        self.reason = reason


def notation_of_media_type(content_type: str) -> Notation:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == MEDIA_TYPES["json"] or (media_type.startswith("application/") and media_type.endswith("+json")):
        return "json"
    if media_type in _YAML_TYPES:
        return "yaml"
    raise UnsupportedMediaType("Send the definition with Content-Type: application/json or application/yaml.")


def read_document(content: bytes | str, notation: Notation) -> JsonValue:
    """The one value that the text holds; UnreadableDocument says why there is none."""
    return read_documents(content, notation, most=1)[0]


def read_documents(content: bytes | str, notation: Notation, *, most: int) -> list[JsonValue]:
    """All that stand in the text: in YAML between lines of ``---``, in JSON there is one."""
    text = _text(content)
    values = [_from_json(text)] if notation == "json" else _from_yaml(text, most)
    for value in values:
        if deeper_than(value, DEEPEST):
            raise UnreadableDocument(f"it is nested more than {DEEPEST} deep")
        if not storable(value):
            place, what = next(unfit_places(value, ""))
            raise UnreadableDocument(f"{place.removeprefix('.') or 'it'}: {what}")
    return values


def _text(content: bytes | str) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"it is not UTF-8 from byte {error.start} on") from error


def _from_yaml(text: str, most: int) -> list[JsonValue]:
    try:
        return read_yaml_documents(text, most=most)
    except YamlError as error:
        raise UnreadableDocument(str(error)) from error


def _from_json(text: str) -> JsonValue:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise UnreadableDocument(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise UnreadableDocument("it is nested too deep") from error
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableDocument(str(error)) from error


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableDocument(f"the key {twice[:64]!r} is there twice in one object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise UnreadableDocument(f"{name} is not JSON")
