"""Documents in YAML and JSON: several in one text, and bounds that hold for all of them together."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.documents.reading import (
    Notation,
    UnreadableDocument,
    notation_of_media_type,
    read_document,
    read_documents,
)
from crewmesh_kit.documents.yaml_text import MOST_VALUES, YamlError, read_yaml, read_yaml_documents, write_yaml
from crewmesh_kit.errors import UnsupportedMediaType


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: 1", [{"a": 1}]),
        ("a: 1\n---\n- b\n---\nc", [{"a": 1}, ["b"], "c"]),
        ("---\na: no\n...\n---\nb: 010\n...\n", [{"a": "no"}, {"b": "010"}]),
        ("---\n---\n", [None, None]),
        ("# nothing but a comment, then\n--- x", ["x"]),
    ],
)
def test_documents_stand_between_lines_of_hyphens(text: str, values: list[JsonValue]) -> None:
    assert read_yaml_documents(text, most=5) == values
    assert read_documents(text, "yaml", most=5) == values


def test_what_is_written_is_read_the_same() -> None:
    values: list[JsonValue] = [{"a": ["no", "0123", "1e3", None, 1.5]}, "two\nlines\n", [], {"---": "..."}]
    assert read_yaml_documents(write_yaml(*values), most=4) == values


def test_bounds_hold_for_all_documents_together() -> None:
    half = "- x\n" * (MOST_VALUES // 2 + 1)
    assert len(read_yaml_documents(half, most=2)) == 1
    with pytest.raises(YamlError, match="more than"):
        read_yaml_documents(f"{half}---\n{half}", most=2)
    with pytest.raises(YamlError, match="more than 2 documents"):
        read_yaml_documents("a\n---\nb\n---\nc", most=2)
    with pytest.raises(YamlError, match="second document"):
        read_yaml("a\n---\nb")


def test_an_anchor_belongs_to_its_document() -> None:
    with pytest.raises(YamlError, match="names nothing"):
        read_yaml_documents("a: &x 1\n---\nb: *x", most=2)


@pytest.mark.parametrize(
    ("content", "notation", "said"),
    [
        ('{"a": 1, "a": 2}', "json", "there twice"),
        ('{"a": NaN}', "json", "NaN is not JSON"),
        ('{"a": 1e999}', "json", "too large"),
        ('{"a": "\\u0000"}', "json", "NUL"),
        ('{"a": "\\ud800"}', "json", "half of a character"),
        ("[" * 102 + "]" * 102, "json", "nested more than 100 deep"),
        ("[" * 100_000, "json", "nested too deep"),
        ("{", "json", "line 1, column 2"),
        (b"\xff", "yaml", "not UTF-8 from byte 0"),
        ("", "yaml", "nothing in it"),
    ],
)
def test_what_cannot_be_read_is_told(content: str | bytes, notation: Notation, said: str) -> None:
    with pytest.raises(UnreadableDocument, match=said):
        read_document(content, notation)


def test_a_notation_is_known_by_its_media_type() -> None:
    assert notation_of_media_type("application/json; charset=utf-8") == "json"
    assert notation_of_media_type("application/merge-patch+json") == "json"
    assert notation_of_media_type("Text/YAML") == "yaml"
    with pytest.raises(UnsupportedMediaType):
        notation_of_media_type("text/plain")
