"""A definition as text, in either of its two notations."""

from __future__ import annotations

import json
from typing import Literal, NoReturn, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.errors import UnsupportedMediaType

from crewmesh_workflow.definitions.errors import UnreadableDocument
from crewmesh_workflow.definitions.yaml_text import DEEPEST, YamlError, read_yaml, write_yaml
from crewmesh_workflow.engine.payloads import storable

Notation: TypeAlias = Literal["json", "yaml"]

LARGEST_BYTES = 1024 * 1024
MEDIA_TYPES: dict[Notation, str] = {"json": "application/json", "yaml": "application/yaml"}
# The fields of a definition in the order in which people want to read them.
_ORDER = (
    *("schema_version", "name", "slug", "description", "triggers", "env", "settings"),
    *("nodes", "edges", "output", "on_failure", "layout"),
)
_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def notation_of_media_type(content_type: str) -> Notation:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == MEDIA_TYPES["json"] or (media_type.startswith("application/") and media_type.endswith("+json")):
        return "json"
    if media_type in _YAML_TYPES:
        return "yaml"
    raise UnsupportedMediaType("Send the definition with Content-Type: application/json or application/yaml.")


def notation_of_file(path: str) -> Notation:
    """By its name; what is not called .json is YAML, of which JSON is nearly a part."""
    return "json" if path.lower().endswith(".json") else "yaml"


def read_document(content: bytes | str, notation: Notation) -> JsonObject:
    """The JSON object that the text holds; UnreadableDocument says why there is none."""
    text = _text(content)
    value = _from_json(text) if notation == "json" else _from_yaml(text)
    if not isinstance(value, dict):
        raise UnreadableDocument("it must be an object: name, nodes, edges and so on")
    if _deeper_than(value, DEEPEST):
        raise UnreadableDocument(f"it is nested more than {DEEPEST} deep")
    if not storable(value):
        raise UnreadableDocument("it holds a text with a NUL character or half of a surrogate pair, or a huge number")
    return value


def _deeper_than(value: JsonValue, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _text(content: bytes | str) -> str:
    if len(content) > LARGEST_BYTES:
        raise UnreadableDocument(f"it is larger than {LARGEST_BYTES // 1024} KiB; move parts into sub-workflows")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"it is not UTF-8 from byte {error.start} on") from error


def _from_yaml(text: str) -> JsonValue:
    try:
        return read_yaml(text)
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


def write_document(definition: Definition, notation: Notation) -> str:
    """Short: what is as it would be anyway is left out."""
    value = concise(definition)
    if notation == "yaml":
        return write_yaml(value)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def concise(definition: Definition) -> JsonObject:
    """Without what equals its default, but with what says what things are, and that first."""
    full = definition.model_dump(mode="json", by_alias=True)
    brief: JsonObject = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    brief["schema_version"] = full["schema_version"]
    if "triggers" in brief:
        brief["triggers"] = _with_kinds(brief["triggers"], full["triggers"])
    return {name: _ordered(brief[name]) for name in (*_ORDER, *brief.keys() - set(_ORDER)) if name in brief}


def _with_kinds(brief: JsonValue, full: JsonValue) -> JsonValue:
    """A kind that has a default is needed all the same, for it tells how to read the rest."""
    if not isinstance(brief, list) or not isinstance(full, list):
        return brief
    return [
        {**short, "kind": whole["kind"]}
        for short, whole in zip(brief, full, strict=True)
        if isinstance(short, dict) and isinstance(whole, dict)
    ]


def _ordered(value: JsonValue) -> JsonValue:
    """Nodes and triggers begin with id and kind."""
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    first = ("id", "kind") if isinstance(value.get("kind"), str) else ()
    return {
        **{name: value[name] for name in first if name in value},
        **{name: _ordered(member) for name, member in value.items() if name not in first},
    }
