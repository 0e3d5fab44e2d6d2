"""Conditions: CEL over what templates can read, compiled once, evaluated without any way out.

A condition is given no more than what it names, and what would make its work grow is bounded when it is compiled, or by
the amount of data that it may see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cel
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import to_json

from crewmesh_workflow.expressions.cel_code import Code, look_at, path_alone
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.expressions.scope import ROOTS, Path, Scope

_COSTLY_DATA_BYTES = 128 * 1024
# What a comprehension does may go over all items for each item; map and filter copy what they have so far each time.
_COMPREHENDED_ITEMS = 1_000
_COPIED_ITEMS = 500
_FREE_PLUSES = 3

# Operators are functions to CEL as well, with names like _+_ and @in.
_NAME = re.compile(r"\w+")
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_CONVERTING = {"bytes", "double", "duration", "dyn", "int", "size", "string", "timestamp", "type", "uint"}
_OF_TEXTS = {"contains", "endsWith", "matches", "startsWith"}
_OF_TIMES = {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
_FUNCTIONS = frozenset(_CONVERTING | _OF_TEXTS | _OF_TIMES | {"getMinutes", "getMonth", "getSeconds"})

_Tree: TypeAlias = "dict[str, _Tree]"


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    source: str
    program: cel.Program
    code: Code
    picked: _Tree

    @staticmethod
    def compile(source: str) -> Condition:
        """Read it; raises ExpressionError with the place of the first mistake."""
        code = look_at(source)
        try:
            program = cel.compile(source)
        except ValueError as error:
            raise ExpressionError(f"the condition is not valid CEL: {_first_line(error)}") from error
        _refuse_unknown_names(program, code)
        return Condition(source, program, code, _tree(code))

    @property
    def path(self) -> Path | None:
        """The path that it is, if it is nothing else."""
        return path_alone(self.source)

    def reads(self) -> Iterator[Read]:
        """The paths that it reads, as far as they are written out."""
        return iter(self.code.reads)

    def step_names(self) -> Iterator[str]:
        """The steps that it reads, as far as they are written out."""
        return (read.path.step for read in self.code.reads if read.path.step is not None)

    def roots(self) -> frozenset[str]:
        """The roots that it reads."""
        return frozenset(read.path.root for read in self.code.reads)

    def evaluate(self, scope: Scope) -> bool:
        """True or false; anything else, and anything missing, is an error."""
        data = self._seen(scope)
        self._refuse_much(data)
        try:
            result: object = self.program.execute(data)
        except Exception as error:
            # The library answers with whatever built-in exception seems to fit; all of them mean: it has no value.
            raise ExpressionError(f"the condition has no value: {_reason(error)}") from error
        if not isinstance(result, bool):
            raise ExpressionError(
                f"the condition must be true or false, but is a value of type {type(result).__name__}"
            )
        return result

    def _seen(self, scope: Scope) -> JsonObject:
        """What it reads, and nothing else."""
        if self.code.everything:
            return scope.all()
        seen: JsonObject = {}
        for root, tree in self.picked.items():
            if root == "steps":
                outputs: JsonObject = {step: {"output": scope.outputs[step]} for step in tree if step in scope.outputs}
                seen[root] = _pick(outputs, tree)
            elif root in scope.roots:
                seen[root] = _pick(scope.roots[root], tree)
        return seen

    def _refuse_much(self, data: JsonObject) -> None:
        code = self.code
        if not (code.comprehends or code.patterns or code.pluses > _FREE_PLUSES):
            return
        if len(to_json(data)) > _COSTLY_DATA_BYTES:
            limit = _COSTLY_DATA_BYTES // 1024
            raise ExpressionError(
                f"the condition walks over lists, matches patterns or puts much together, which is possible with at "
                f"most {limit} KiB of data; name a smaller part of it"
            )
        items = _COPIED_ITEMS if code.copies else _COMPREHENDED_ITEMS
        if code.comprehends and _count(data) > items:
            raise ExpressionError(
                f"the condition walks over lists, which is possible with at most {items} items in all; name a smaller "
                "part of the data, or use a for_each"
            )


def _tree(code: Code) -> _Tree:
    """What is read, by name; an empty tree stands for everything below."""
    tree: _Tree = {}
    # Beside steps["a-b"], which is read by its key, steps alone says nothing.
    paths = {(read.path.root, *map(str, read.path.segments)) for read in code.reads}
    for path in sorted(paths, key=len):
        inner, whole = tree, False
        for name in path[:-1]:
            named_only = inner is tree and name == "steps"
            whole = whole or (name in inner and not inner[name] and not named_only)
            inner = inner.setdefault(name, {})
        if not whole:
            inner.setdefault(path[-1], {})
    return tree


def _pick(value: JsonValue, tree: _Tree) -> JsonValue:
    """Of an object what is in the tree."""
    if not tree or not isinstance(value, dict):
        return value
    return {name: _pick(value[name], inner) for name, inner in tree.items() if name in value}


def _count(value: JsonValue) -> int:
    """The items of all lists in it."""
    count = 0
    waiting: list[Iterable[JsonValue]] = [[value]]
    while waiting:
        for found in waiting.pop():
            if isinstance(found, list):
                count += len(found)
                waiting.append(found)
            elif isinstance(found, dict):
                waiting.append(found.values())
    return count


def _refuse_unknown_names(program: cel.Program, code: Code) -> None:
    unknown = set(program.variables()) - set(ROOTS) - code.bound - _TYPES
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ExpressionError(f"the condition reads {names[:200]}; what can be read is {', '.join(ROOTS)}")
    functions = {name for name in program.functions() if _NAME.fullmatch(name)} - _FUNCTIONS
    if functions:
        raise ExpressionError(f"the condition calls {', '.join(sorted(functions))[:200]}, which CEL does not have")


def _first_line(error: ValueError) -> str:
    lines = str(error).split("ERROR: ", 1)[-1].splitlines()
    return lines[0][:300] if lines else "it cannot be read"


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}; has(…) tells whether a field is there"
    return str(error).split(" CEL does not coerce")[0][:300]
