"""Checking an answer against the form it was asked with: a JSON Schema that the author of a workflow wrote.

Patterns run on an engine that is linear in the text, and references lead nowhere but into the schema itself, so that
neither the author nor who answers can keep the service busy or make it fetch something.
"""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema_rs
from crewmesh_contracts.base import JsonObject, JsonValue

_MOST_MISTAKES = 50
_LONGEST_MESSAGE = 300


def mistakes(form: JsonObject, answer: JsonValue, *, place: str = "data") -> list[tuple[str, str]]:
    """Every mistake with where it is; none when the answer is as asked."""
    try:
        validator = jsonschema_rs.validator_for(
            form, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=True, retriever=_nothing_else
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return [(place, f"cannot be checked, for the form itself is wrong: {_first_line(error)}")]
    return [
        (place + "".join(_steps(error.instance_path)), _shortened(error.message))
        for error, _ in zip(validator.iter_errors(answer), range(_MOST_MISTAKES), strict=False)
    ]


def _nothing_else(uri: str) -> JsonValue:
    raise ValueError(f"a form refers to nothing outside of itself, and {uri} is outside")


def _steps(path: list[str | int]) -> Iterator[str]:
    for part in path:
        yield f"[{part}]" if isinstance(part, int) else f".{part}"


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"


def _first_line(error: Exception) -> str:
    return _shortened(str(error).splitlines()[0] if str(error) else type(error).__name__)
