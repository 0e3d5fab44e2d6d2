"""Templates: any JSON value in whose texts ``{{ expression }}`` is replaced by a value, and nothing else.

A text that is one whole expression keeps the type of its value; inside other text a value that is not text becomes
JSON. Braces as they are can be written as a text: ``{{ '{{' }}``. What a value holds is never read as a template.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.budget import Budget
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.evaluation import check_constants, evaluate
from crewmesh_workflow.expressions.grammar import OPEN, Expression, Read, read_expression
from crewmesh_workflow.expressions.scope import Path, Scope
from crewmesh_workflow.expressions.values import as_text, size_of

_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class _Constant:
    value: JsonValue

    def expressions(self) -> Iterator[Expression]:
        return iter(())

    def render(self, scope: Scope, budget: Budget) -> JsonValue:
        return self.value


@dataclass(frozen=True, slots=True)
class _Whole:
    expression: Expression

    def expressions(self) -> Iterator[Expression]:
        yield self.expression

    def render(self, scope: Scope, budget: Budget) -> JsonValue:
        value = evaluate(self.expression, scope, budget)
        budget.produce(size_of(value))
        return value


@dataclass(frozen=True, slots=True)
class _Mixed:
    parts: tuple[str | Expression, ...]

    def expressions(self) -> Iterator[Expression]:
        return (part for part in self.parts if isinstance(part, Expression))

    def render(self, scope: Scope, budget: Budget) -> JsonValue:
        texts: list[str] = []
        for part in self.parts:
            text = part if isinstance(part, str) else as_text(evaluate(part, scope, budget))
            budget.produce(len(text))
            texts.append(text)
        return "".join(texts)


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[_Compiled, ...]

    def expressions(self) -> Iterator[Expression]:
        return (expression for item in self.items for expression in item.expressions())

    def render(self, scope: Scope, budget: Budget) -> JsonValue:
        return [item.render(scope, budget) for item in self.items]


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Compiled], ...]

    def expressions(self) -> Iterator[Expression]:
        return (expression for _, member in self.members for expression in member.expressions())

    def render(self, scope: Scope, budget: Budget) -> JsonValue:
        return {name: member.render(scope, budget) for name, member in self.members}


_Compiled = _Constant | _Whole | _Mixed | _List | _Object


@dataclass(frozen=True, slots=True)
class Template:
    """Any JSON value in which templates may stand, ready to be rendered."""

    compiled: _Compiled

    @property
    def whole(self) -> Expression | None:
        """The one expression that it is, if it is."""
        return self.compiled.expression if isinstance(self.compiled, _Whole) else None

    def expressions(self) -> Iterator[Expression]:
        return self.compiled.expressions()

    def reads(self) -> Iterator[Read]:
        """Every path that is read, and whether it may lead nowhere."""
        return (read for expression in self.expressions() for read in expression.reads())

    def paths(self) -> Iterator[Path]:
        return (read.path for read in self.reads())

    def parts(self) -> Iterator[str | Template]:
        """Of a text: what stands in it as it is, and each expression as a template of its own."""
        match self.compiled:
            case _Constant(value=str() as text):
                yield text
            case _Mixed(parts=parts):
                yield from (part if isinstance(part, str) else Template(_Whole(part)) for part in parts)
            case _:
                yield self

    def check_constants(self) -> None:
        """Raises ExpressionError for what is written in an expression and can never work."""
        for expression in self.expressions():
            check_constants(expression)

    def value(self, scope: Scope) -> JsonValue:
        return self.compiled.render(scope, Budget())

    def text(self, scope: Scope) -> str:
        """The value as text, for fields that are nothing but text."""
        return as_text(self.value(scope))


def compile_template(value: JsonValue) -> Template:
    """Read the value; raises ExpressionError at the first thing that is not our grammar."""
    return Template(_compile(value, _MAX_DEPTH))


def _compile(value: JsonValue, depth: int) -> _Compiled:
    if depth == 0:
        raise ExpressionError(f"lists and objects are nested more than {_MAX_DEPTH} deep; make the value flatter")
    if isinstance(value, str):
        return _compile_text(value)
    if isinstance(value, list):
        items = tuple(_compile(item, depth - 1) for item in value)
        return _List(items) if _dynamic(items) else _Constant(value)
    if isinstance(value, dict):
        members = tuple((name, _compile(member, depth - 1)) for name, member in value.items())
        return _Object(members) if _dynamic(tuple(member for _, member in members)) else _Constant(value)
    return _Constant(value)


def _dynamic(parts: tuple[_Compiled, ...]) -> bool:
    return not all(isinstance(part, _Constant) for part in parts)


def _compile_text(text: str) -> _Compiled:
    parts = tuple(parts_of(text))
    if not any(isinstance(part, Expression) for part in parts):
        return _Constant(text)
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return _Whole(parts[0])
    return _Mixed(parts)


def parts_of(text: str) -> Iterator[str | Expression]:
    """The text's own characters, and the expressions between them."""
    position = 0
    while (opened := text.find(OPEN, position)) >= 0:
        if opened > position:
            yield text[position:opened]
        expression, position = read_expression(text, opened)
        yield expression
    if position < len(text):
        yield text[position:]
