"""What a filter is: a pure function whose signature says how it is written.

Where it is given what it cannot take it raises ExpressionError with the end of a sentence that begins with its name.
Null stays null, unless a filter says that it takes it. A filter never makes much out of little: what could is counted
before it is done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.budget import MAX_RENDERED_BYTES
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.values import one_of

Judge = Callable[[JsonValue], object]

# Everything on the way to a rendered value may be as large as that may be.
MAX_BYTES = MAX_RENDERED_BYTES
MAX_PARTS = 100_000


@dataclass(frozen=True, slots=True)
class Filter:
    """``least`` and ``most`` arguments. ``catches``: it takes the place of a value that is not there.

    ``looks``: it only looks at the outside of its value, so that the value's size costs nothing. ``judges``: what each
    argument must pass, of those that are refused whatever the value is.
    """

    name: str
    usage: str
    description: str
    apply: Callable[..., JsonValue]
    least: int
    most: int
    takes_null: bool
    catches: bool
    looks: bool
    judges: tuple[Judge | None, ...] = ()

    def check(self, number: int, argument: JsonValue) -> None:
        """Raises ExpressionError, as a call would, for an argument that can never be right."""
        judge = self.judges[number]
        try:
            if judge is not None:
                judge(argument)
        except ExpressionError as error:
            raise ExpressionError(f"{self.name} {error}") from None

    def __call__(self, value: JsonValue, arguments: tuple[JsonValue, ...]) -> JsonValue:
        if value is None and not self.takes_null:
            return None
        try:
            return self.apply(value, *arguments)
        except ExpressionError as error:
            raise ExpressionError(f"{self.name} {error}") from None


def make_filter(
    *, takes_null: bool = False, catches: bool = False, looks: bool = False, **judges: Judge
) -> Callable[[Callable[..., JsonValue]], Filter]:
    """Make the function a filter of the same name. Arguments with a default may be left out.

    ``judges``: by the name of an argument, the function by which the filter itself reads it.
    """

    def make(function: Callable[..., JsonValue]) -> Filter:
        name = function.__name__.strip("_")
        arguments = [*inspect.signature(function).parameters.values()][1:]
        optional = sum(argument.default is not argument.empty for argument in arguments)
        shown = ", ".join(f"{each.name}?" if each.default is not each.empty else each.name for each in arguments)
        return Filter(
            name=name,
            usage=f"{name}({shown})" if shown else name,
            description=inspect.getdoc(function) or "",
            apply=function,
            least=len(arguments) - optional,
            most=len(arguments),
            takes_null=takes_null,
            catches=catches,
            looks=looks,
            judges=tuple(_or_nothing(judges[each.name], each) if each.name in judges else None for each in arguments),
        )

    return make


def _or_nothing(judge: Judge, argument: inspect.Parameter) -> Judge:
    """Where an argument may be left out, null is as good."""
    return judge if argument.default is not None else lambda value: value is None or judge(value)


def filters_of(module: ModuleType) -> Iterator[Filter]:
    return (member for member in vars(module).values() if isinstance(member, Filter))


def text(value: JsonValue) -> str:
    one_of(value, str)
    return value if isinstance(value, str) else ""


def items(value: JsonValue) -> list[JsonValue]:
    one_of(value, list)
    return value if isinstance(value, list) else []


def number(value: JsonValue) -> int | float:
    one_of(value, int, float)
    return value if isinstance(value, (int, float)) else 0


def whole_number(value: JsonValue, least: int, most: int) -> int:
    given = number(value)
    if given != int(given) or not least <= given <= most:
        raise ExpressionError(f"needs a whole number from {least} to {most}, not {given}")
    return int(given)


def bounded(size: int) -> None:
    """Refuse to make so much."""
    if size > MAX_BYTES:
        raise ExpressionError(f"would give more than {MAX_BYTES // 1024 // 1024} MiB")


def parts(found: list[str]) -> list[JsonValue]:
    """What was split with at most MAX_PARTS cuts."""
    if len(found) > MAX_PARTS:
        raise ExpressionError(f"would give more than {MAX_PARTS} parts")
    return [*found]
