"""What is known of a value before any run: which kinds of JSON it can be, and what is in it.

Only what is certain is known. A value of which nothing is known can be anything, and everything may be read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, reduce
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from crewmesh_contracts.base import JsonValue
from pydantic import BaseModel

TEXT, NUMBER, TRUTH, LIST, OBJECT, NULL = "a text", "a number", "true or false", "a list", "an object", "null"
_SCALARS: Mapping[object, str] = {
    str: TEXT,
    datetime: TEXT,
    int: NUMBER,
    float: NUMBER,
    bool: TRUTH,
    None: NULL,
    NoneType: NULL,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """``members`` are all that an object has, ``items`` is what each of a list's is; None: unknown."""

    kinds: frozenset[str] | None = None
    members: Mapping[str, Shape] | None = None
    items: Shape | None = None

    def missing(self, segment: str | int) -> str | None:
        """Why nothing can be there; None: something can."""
        kind = OBJECT if isinstance(segment, str) else LIST
        if self.kinds is not None and kind not in self.kinds:
            return f"is {self}, in which there is no {segment!r}"
        if isinstance(segment, str) and self.members is not None and segment not in self.members:
            known = list(self.members)
            names = ", ".join(known[:-1]) + (" and " if len(known) > 1 else "") + known[-1] if known else "nothing"
            return f"has {names}, not {segment}"
        return None

    def inside(self, segment: str | int) -> Shape:
        """What is there, where something can be."""
        if isinstance(segment, int):
            return self.items or ANYTHING
        return ANYTHING if self.members is None else self.members[segment]

    def or_(self, other: Shape) -> Shape:
        if self.kinds is None or other.kinds is None:
            return ANYTHING
        kinds = self.kinds | other.kinds
        return Shape(kinds, _either(self, other), _items(self, other))

    def __str__(self) -> str:
        return " or ".join(sorted(self.kinds)) if self.kinds else "anything"


ANYTHING = Shape()


def scalar(kind: str) -> Shape:
    return Shape(frozenset({kind}))


def object_of(members: Mapping[str, Shape] | None) -> Shape:
    return Shape(frozenset({OBJECT}), members)


def list_of(items: Shape) -> Shape:
    return Shape(frozenset({LIST}), items=items)


def any_of(shapes: Iterable[Shape]) -> Shape:
    found = list(shapes)
    return reduce(Shape.or_, found) if found else ANYTHING


def _either(one: Shape, other: Shape) -> Mapping[str, Shape] | None:
    objects = [shape for shape in (one, other) if shape.kinds is not None and OBJECT in shape.kinds]
    if any(shape.members is None for shape in objects):
        return None
    names = dict.fromkeys(name for shape in objects for name in shape.members or {})
    return {
        name: any_of(shape.members[name] for shape in objects if shape.members and name in shape.members)
        for name in names
    }


def _items(one: Shape, other: Shape) -> Shape | None:
    lists = [shape for shape in (one, other) if shape.kinds is not None and LIST in shape.kinds]
    return any_of(shape.items or ANYTHING for shape in lists) if lists else None


def shape_of(value: JsonValue) -> Shape:
    """The shape of a value that is known."""
    if isinstance(value, dict):
        return object_of({name: shape_of(member) for name, member in value.items()})
    if isinstance(value, list):
        return list_of(any_of(map(shape_of, value)))
    return scalar(_SCALARS[type(value)])


@cache
def shape_of_model(model: type[BaseModel]) -> Shape:
    """The shape of a message, by the types of its fields."""
    if model.model_config.get("extra") == "allow":
        return object_of(None)
    return object_of({name: _shape_of_type(field.annotation) for name, field in model.model_fields.items()})


def _shape_of_type(annotation: object) -> Shape:
    if annotation in _SCALARS:
        return scalar(_SCALARS[annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return shape_of_model(annotation)
    origin = cast("object", get_origin(annotation))
    arguments = cast("tuple[object, ...]", get_args(annotation))
    if origin is Literal:
        return any_of(scalar(_SCALARS[type(argument)]) for argument in arguments)
    if origin is Annotated:
        return _shape_of_type(arguments[0])
    if origin is Union or origin is UnionType:
        return any_of(map(_shape_of_type, arguments))
    if origin is list or origin is tuple or origin is Sequence:
        return list_of(_shape_of_type(arguments[0]))
    return object_of(None) if origin is dict else ANYTHING
