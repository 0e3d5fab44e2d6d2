"""From a JSON object to a definition that can run, or to everything that is wrong with it.

The shape is looked at first; only what has the right shape can be compiled. Both speak of places in the same way:
``nodes.<id>.<field>``, ``edges.<number>``, nested as ``nodes.loop.body.nodes.<id>.<field>``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crewmesh_workflow.definitions.errors import InvalidDefinition
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError, Mistake


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a JSON object: a definition where its shape is right, and every mistake."""

    definition: Definition | None
    mistakes: tuple[Mistake, ...]


def check(document: JsonObject, *, stored: bool = False) -> Checked:
    """``stored``: it was published once, perhaps when less was refused."""
    try:
        definition = Definition.model_validate(document)
    except ValidationError as error:
        return Checked(None, shape_mistakes(error, document))
    try:
        compile_program(definition, all_kinds(), stored=stored)
    except InvalidDefinitionError as error:
        return Checked(definition, error.mistakes)
    return Checked(definition, ())


async def check_aside(document: JsonObject, *, stored: bool = False) -> Checked:
    """In a thread: a large definition takes a good part of a second, for which runs beside it do not wait."""
    return await asyncio.to_thread(check, document, stored=stored)


async def runnable(document: JsonObject, *, stored: bool = False) -> Definition:
    """The definition; InvalidDefinition with everything that is wrong."""
    checked = await check_aside(document, stored=stored)
    if checked.definition is None or checked.mistakes:
        raise InvalidDefinition(checked.mistakes)
    return checked.definition


def shape_mistakes(error: ValidationError, document: JsonObject) -> tuple[Mistake, ...]:
    details = error.errors(include_url=False, include_context=True, include_input=True)
    told = [each for each in details if not _follows_from_others(each)]
    return tuple(Mistake(_place(each["loc"], document), _sentence(each)) for each in told)


def _follows_from_others(detail: ErrorDetails) -> bool:
    """Items that are wrong are not counted, so that a list with enough of them is called too short as well."""
    given = detail["input"]
    least = detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(given, list) and len(cast("list[object]", given)) >= least


def _place(loc: Sequence[int | str], document: JsonObject) -> str:
    """The place as people write it: nodes by their id, without the kind that pydantic puts between."""
    parts: list[str] = []
    at: JsonValue = document
    for position, step in enumerate(loc):
        if _is_tag(loc, position):
            continue
        at = _inside(at, step)
        parts.append(_name(parts, step, at))
    return ".".join(parts)


def _inside(value: JsonValue, step: int | str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _is_tag(loc: Sequence[int | str], position: int) -> bool:
    """Whether this is the kind of the node or trigger that the steps before have led to."""
    before = loc[max(position - 2, 0) : position]
    return before[-1:] == ("do",) or (before[:1] in (("nodes",), ("triggers",)) and isinstance(before[-1], int))


def _name(parts: Sequence[str], step: int | str, item: JsonValue) -> str:
    id_ = item.get("id") if isinstance(item, dict) and parts[-1:] == ["nodes"] else None
    return id_[:64] if isinstance(id_, str) and id_ else str(step)


def _sentence(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "this is missing; add it"
    if kind == "extra_forbidden":
        return "there is no such field here; remove it, or correct its name"
    if kind == "union_tag_not_found":
        return "it does not say its kind; add kind"
    if kind == "union_tag_invalid":
        return f"there is no kind {str(context.get('tag'))[:64]!r}; use one of {context.get('expected_tags')}"
    if kind == "too_short":
        return f"it needs at least {context.get('min_length')}"
    return detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
