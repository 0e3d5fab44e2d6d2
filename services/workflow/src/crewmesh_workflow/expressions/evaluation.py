"""The value of an expression. What is missing passes by the filters, until a ``??`` takes its place."""

from __future__ import annotations

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.budget import MAX_RENDERED_BYTES, Budget
from crewmesh_workflow.expressions.errors import ExpressionError, NothingFoundError
from crewmesh_workflow.expressions.grammar import Expression, Otherwise, Use, Value
from crewmesh_workflow.expressions.scope import Path, Scope
from crewmesh_workflow.expressions.values import size_of


def evaluate(expression: Expression, scope: Scope, budget: Budget) -> JsonValue:
    """Raises NothingFoundError where nothing is there, ExpressionError where a filter cannot do what it is asked."""
    if not expression.operations:
        return _value(expression.first, scope)
    missing: NothingFoundError | None = None
    value: JsonValue = None
    try:
        value = _value(expression.first, scope)
    except NothingFoundError as error:
        missing = error
    for operation in expression.operations:
        if missing is not None and isinstance(operation, Use) and not operation.filter.catches:
            continue
        try:
            value = _apply(operation, None if missing is not None else value, scope, budget)
            missing = None
        except NothingFoundError as error:
            missing = error
        except ExpressionError as error:
            raise ExpressionError(f"{{{{ {_shown(expression)} }}}}: {error}") from None
    if missing is not None:
        raise missing
    return value


def check_constants(expression: Expression) -> None:
    """Raises ExpressionError for an argument that stands written out and that its filter refuses for every value."""
    for operation in expression.operations:
        if isinstance(operation, Otherwise):
            continue
        for number, argument in enumerate(operation.arguments):
            try:
                if not isinstance(argument, Path):
                    operation.filter.check(number, argument.value)
            except ExpressionError as error:
                raise ExpressionError(f"{{{{ {_shown(expression)} }}}}: {error}") from None


def _apply(operation: Use | Otherwise, value: JsonValue, scope: Scope, budget: Budget) -> JsonValue:
    if isinstance(operation, Otherwise):
        return _value(operation.value, scope) if value is None else value
    arguments = tuple(_value(argument, scope) for argument in operation.arguments)
    if not operation.filter.looks:
        budget.work(size_of(value) + sum(map(size_of, arguments)))
    result = operation.filter(value, arguments)
    if not operation.filter.looks and size_of(result) > MAX_RENDERED_BYTES:
        raise ExpressionError(f"{operation.filter.name} gives more than {MAX_RENDERED_BYTES // 1024 // 1024} MiB")
    return result


def _value(value: Value, scope: Scope) -> JsonValue:
    return scope.resolve(value) if isinstance(value, Path) else value.value


def _shown(expression: Expression) -> str:
    text = str(expression)
    return text if len(text) <= 100 else text[:100] + "…"
