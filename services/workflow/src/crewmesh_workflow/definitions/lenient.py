"""Reads as much of a definition of the wrong shape as can be read, so that the rest of it is checked as well.

It goes by the types of the fields. What is wrong is left out: its default stands in for it, or something empty of its
type; of a node whose kind is unknown, its id remains. What was left out, or may be meant by a field that nobody knows,
is noted, and the compiler tells nothing that only follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS, NodeBase
from crewmesh_contracts.workflow.registry import Kinds
from crewmesh_contracts.workflow.triggers.base import TRIGGER_KINDS, TriggerBase
from pydantic import BaseModel, TypeAdapter, ValidationError

from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import Meeting, kind
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError, Mistake
from crewmesh_workflow.program.unread import Unread
from crewmesh_workflow.program.whole import MAX_LEVELS, item_name

ItemT = TypeVar("ItemT")
ModelT = TypeVar("ModelT", bound=BaseModel)

# What stands in for a field leaves most possible: every port, and each of them taken; any time, and any code.
_MOST_POSSIBLE: JsonObject = {
    "on_error": "handle",
    "expires_seconds": 1e7,
    "timeout_seconds": 1e7,
    "language": "javascript",
}
_EMPTY: dict[object, object] = {str: "", int: 0, float: 0.0, bool: False, dict: {}, list: [], tuple: ()}

_OF_NO_KIND = kind(NodeBase, lambda _node, _read: Meeting(None))


class _Nothing:
    """Nothing could be read."""


_NOTHING = _Nothing()


def mistakes_beside(document: JsonObject, told: Set[str]) -> tuple[Mistake, ...]:
    """What is wrong with a definition beside its shape. ``told``: the places where that is wrong."""
    definition, unread = read_what_can_be(document, told)
    try:
        compile_program(definition, all_kinds().but(_OF_NO_KIND), unread)
    except InvalidDefinitionError as error:
        return tuple(mistake for mistake in error.mistakes if not unread.tells(mistake.path))
    return ()


def read_what_can_be(document: JsonObject, told: Set[str]) -> tuple[Definition, Unread]:
    reading = _Reading()
    definition = reading.fields(Definition, document, "")
    return definition, Unread(reading.unread | told, reading.left_out, document)


class _Reading:
    def __init__(self) -> None:
        self.unread: set[str] = set()
        self.left_out: set[str] = set()
        self._level = 0

    def fields(self, kind: type[ModelT], given: JsonObject, place: str, *, all_unread: bool = False) -> ModelT:
        """Each by itself, whatever their whole must be."""
        names = {field.alias or name: name for name, field in kind.model_fields.items()}
        strange = given.keys() - names.keys() - kind.model_fields.keys()
        self.left_out |= {_under(place, key) for key in strange}
        read: dict[str, object] = {}
        for key, name in names.items():
            field, here = kind.model_fields[name], _under(place, key)
            found = next((each for each in (key, name) if each in given), None)
            if found is not None:
                read[name] = self._value(_annotated(field.annotation, field.metadata), given[found], here)
            elif field.is_required() or strange or all_unread:
                self.unread.add(here)
            if read.get(name, _NOTHING) is _NOTHING:
                default = self._empty(field.annotation, here) if field.is_required() else field.get_default()
                read[name] = _MOST_POSSIBLE.get(name, default) if here in self.unread else default
        return kind.model_construct(**cast("dict[str, Any]", read))

    def _value(self, type_: object, value: JsonValue, place: str) -> object:
        plain, constraints = _parts(type_)
        kinds = _kinds(constraints)
        if kinds is not None:
            return self._of_kind(kinds, value, place)
        one = _but_null(plain)
        if one is not None:
            return None if value is None else self._value(one, value, place)
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            return self._model(plain, value, place)
        origin, arguments = get_origin(plain), get_args(plain)
        if origin is tuple and isinstance(value, list):
            return tuple(self._items(arguments[0], self._most(value, constraints, place), place))
        if origin is dict and isinstance(value, dict):
            members = dict(self._most([*value.items()], constraints, place))
            return self._members(arguments, members, place)
        return self._scalar(type_, value, place)

    def _model(self, kind: type[BaseModel], value: JsonValue, place: str) -> object:
        try:
            return kind.model_validate(value)
        except ValidationError:
            if not isinstance(value, dict) or self._level > MAX_LEVELS:  # deeper, nothing is compiled either
                return self._leave_out(place)
        self._level += issubclass(kind, Graph)
        read = self.fields(kind, value, place)
        self._level -= issubclass(kind, Graph)
        return read

    def _of_kind(self, kinds: Kinds[BaseModel], value: JsonValue, place: str) -> object:
        given = value if isinstance(value, dict) else {}
        name = given.get("kind")
        kind = kinds.all().get(name) if isinstance(name, str) else None
        if kind is not None:
            return self._model(kind, value, place)
        self.unread.add(_under(place, "kind"))
        stand_in = TriggerBase if kinds is TRIGGER_KINDS else NodeBase
        return self.fields(stand_in, {"id": given["id"]} if "id" in given else {}, place)

    def _items(self, type_: object, values: Sequence[JsonValue], place: str) -> list[object]:
        of_nodes = NODE_KINDS in _parts(type_)[1]
        read: list[object] = []
        for number, value in enumerate(values):
            name = item_name(place, value, number)
            here = _under(place, name)
            item = self._value(type_, value, here)
            item = self._empty(type_, here) if item is _NOTHING else item
            if of_nodes and isinstance(item, NodeBase) and f"{here}.id" in self.unread:
                # Nobody can name it by that, and by which id they do is unknown.
                self.unread |= {here, place}
                item = item.model_copy(update={"id": name})
            read.append(item)
        return read

    def _members(self, types: Sequence[object], members: JsonObject, place: str) -> dict[str, object]:
        read: dict[str, object] = {}
        for name, value in members.items():
            here = _under(place, name)
            if self._scalar(types[0], name, here) is _NOTHING:
                self.unread.add(place)
            member = self._value(types[1], value, here)
            read[name] = self._empty(types[1], here) if member is _NOTHING else member
        return read

    def _scalar(self, type_: object, value: JsonValue, place: str) -> object:
        try:
            return _adapter(type_).validate_python(value)
        except ValidationError:
            return self._leave_out(place)

    def _leave_out(self, place: str) -> object:
        self.unread.add(place)
        self.left_out.add(place)
        return _NOTHING

    def _most(self, values: list[ItemT], constraints: Sequence[object], place: str) -> list[ItemT]:
        """No more than there may be: what is too long must not take long as well."""
        most = next((found for each in constraints if (found := getattr(each, "max_length", None))), len(values))
        if most < len(values):
            self.unread.add(place)
        return values[:most]

    def _empty(self, type_: object, place: str) -> object:
        plain, _ = _parts(type_)
        arguments = get_args(plain)
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            return self.fields(plain, {}, place, all_unread=True)
        if get_origin(plain) is Literal:
            return arguments[0]
        if get_origin(plain) in (Union, UnionType):
            return None if NoneType in arguments else self._empty(arguments[0], place)
        return _EMPTY.get(cast("object", get_origin(plain) or plain))


def _annotated(type_: object, constraints: Sequence[object]) -> object:
    return Annotated[(type_, *constraints)] if constraints else type_


def _parts(type_: object) -> tuple[object, Sequence[object]]:
    if get_origin(type_) is not Annotated:
        return type_, ()
    plain, *constraints = get_args(type_)
    return plain, [part for each in constraints for part in (each, *getattr(each, "metadata", ()))]


def _kinds(constraints: Sequence[object]) -> Kinds[BaseModel] | None:
    for each in constraints:
        if isinstance(each, Kinds):
            return cast("Kinds[BaseModel]", each)
    return None


def _but_null(type_: object) -> object:
    """The one type that a value has when it is not null; None: there is no such."""
    if get_origin(type_) not in (Union, UnionType):
        return None
    others = [each for each in get_args(type_) if each is not NoneType]
    return others[0] if len(others) == 1 else None


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
