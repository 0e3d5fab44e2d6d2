"""From a JSON object to a definition that can run, or to everything that is wrong with it.

The shape is looked at first. Only what has the right shape can be compiled to run; of what has not, all that can be
read is compiled for its mistakes. Both speak of places in the same way: ``nodes.<id>.<field>``, ``edges.<number>``,
nested as ``nodes.loop.body.nodes.<id>.<field>``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.misshapen import Loc, ShapeError, told
from pydantic import ValidationError

from crewmesh_workflow.definitions.errors import InvalidDefinition
from crewmesh_workflow.definitions.lenient import mistakes_beside
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError, Mistake
from crewmesh_workflow.program.whole import item_name


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
        misshapen = shape_mistakes(error, document)
        return Checked(None, (*misshapen, *mistakes_beside(document, {mistake.path for mistake in misshapen})))
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
    errors = [cast("ShapeError", {**each, "loc": _without_kinds(each["loc"])}) for each in details]
    return tuple(Mistake(_place(loc, document), message) for loc, message in told(errors, document))


def _without_kinds(loc: Loc) -> Loc:
    return tuple(step for position, step in enumerate(loc) if not _is_kind(loc, position))


def _is_kind(loc: Loc, position: int) -> bool:
    """Whether this is the kind of the node or trigger that the steps before have led to."""
    before = loc[max(position - 2, 0) : position]
    return before[-1:] == ("do",) or (before[:1] in (("nodes",), ("triggers",)) and isinstance(before[-1], int))


def _place(loc: Loc, document: JsonObject) -> str:
    """The place as people write it: nodes by their id."""
    place = ""
    at: JsonValue = document
    for step in loc:
        at = _inside(at, step)
        name = item_name(place, at, step) if isinstance(step, int) else step
        place = f"{place}.{name}" if place else name
    return place


def _inside(value: JsonValue, step: int | str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None
