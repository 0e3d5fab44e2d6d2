"""A definition as text, in either of its two notations."""

from __future__ import annotations

import json

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.documents import reading
from crewmesh_kit.documents.reading import Notation, UnreadableDocument
from crewmesh_kit.documents.yaml_text import write_yaml

LARGEST_BYTES = 1024 * 1024
# The fields of a definition in the order in which people want to read them.
_ORDER = (
    *("schema_version", "name", "slug", "description", "triggers", "env", "settings"),
    *("nodes", "edges", "output", "on_failure", "layout"),
)


def notation_of_file(path: str) -> Notation:
    """By its name; what is not called .json is YAML, of which JSON is nearly a part."""
    return "json" if path.lower().endswith(".json") else "yaml"


def read_document(content: bytes | str, notation: Notation) -> JsonObject:
    """The JSON object that the text holds; UnreadableDocument says why there is none."""
    if len(content) > LARGEST_BYTES:
        raise UnreadableDocument(f"it is larger than {LARGEST_BYTES // 1024} KiB; move parts into sub-workflows")
    value = reading.read_document(content, notation)
    if not isinstance(value, dict):
        raise UnreadableDocument("it must be an object: name, nodes, edges and so on")
    return value


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
