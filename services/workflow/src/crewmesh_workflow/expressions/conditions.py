"""Conditions: CEL over what templates can read, compiled once, evaluated without any way out.

A condition is given no more than what it names, and what would make its work grow is bounded when it is compiled, or by
the amount of data that it may see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import cel
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import to_json

from crewmesh_workflow.expressions.cel_code import Code, look_at, path_alone
from crewmesh_workflow.expressions.cel_dialect import as_the_library_has_it
from crewmesh_workflow.expressions.cel_errors import no_value, written_wrong
from crewmesh_workflow.expressions.cel_functions import Function, as_it_runs, needed
from crewmesh_workflow.expressions.cel_tree import MACROS, TooDeepError, tree_of
from crewmesh_workflow.expressions.cel_types import look, refuse_constants
from crewmesh_workflow.expressions.cel_words import worded
from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.expressions.scope import ROOTS, Path, Scope
from crewmesh_workflow.expressions.signatures import FUNCTIONS
from crewmesh_workflow.expressions.values import kind_of

_COSTLY_DATA_BYTES = 128 * 1024
# What a comprehension does may go over all items for each item; map and filter copy what they have so far each time.
_COMPREHENDED_ITEMS = 1_000
_COPIED_ITEMS = 500
_FREE_PLUSES = 3

# Operators are functions to CEL as well, with names like _+_ and @in.
_NAME = re.compile(r"\w+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_Tree: TypeAlias = "dict[str, _Tree]"


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. ``place`` is where it stands in a definition; its errors begin with that."""

    source: str
    program: cel.Program
    functions: Mapping[str, Function]
    code: Code
    picked: _Tree
    place: str = ""

    @staticmethod
    def compile(source: str, *, place: str = "") -> Condition:
        """Read it; raises ExpressionError with the place of the first mistake."""
        _refuse_unreadable(source)
        program = _compiled(source)
        in_other_words = as_the_library_has_it(source)
        code = look_at(in_other_words)
        _refuse_unknown_names(program, code)
        runs = as_it_runs(in_other_words)
        if runs != source:
            program = _compiled(runs)
        return Condition(source, program, needed(program.functions()), code, _tree(code), place)

    def refuse_in_vain(self) -> None:
        """Raises ExpressionError if it, or a part of it, can have no value, whatever the data is, or cannot be judged.

        For when it is saved: what was saved before goes on running, for the part may never be reached.
        """
        try:
            tree = tree_of(self.source)
        except TooDeepError as error:
            raise ExpressionError(f"the condition cannot be judged: {error}") from error
        if tree is None:
            return
        try:
            kind = look(tree, {})
            refuse_constants(tree, _run_alone)
        except ExpressionError as error:
            raise ExpressionError(f"the condition can have no value: {error}") from error
        if kind not in (None, "bool"):
            raise ExpressionError(f"the condition must be true or false, but is {worded(kind)}")

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
            result = _run(self.program, data, self.functions, lambda: self._mistake(data))
        except ExpressionError as error:
            raise self._wrong(f"has no value: {error}") from error
        if not isinstance(result, bool):
            raise self._wrong(f"must be true or false, but is {_in_words(result)}")
        return result

    def _wrong(self, why: str) -> ExpressionError:
        return ExpressionError(f"{self.place}: the condition {why}" if self.place else f"the condition {why}")

    def _mistake(self, data: JsonObject) -> str | None:
        """What does not go together in it, with this data, if that can be told."""
        try:
            tree = tree_of(self.source)
            if tree is not None:
                look(tree, data)
        except TooDeepError:
            return None  # one that was saved before that was judged
        except ExpressionError as mistake:
            return str(mistake)
        return None

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
        if _bytes_of(data) > _COSTLY_DATA_BYTES:
            limit = _COSTLY_DATA_BYTES // 1024
            raise self._wrong(
                f"walks over lists, matches patterns or puts much together, which is possible with at "
                f"most {limit} KiB of data; name a smaller part of it"
            )
        items = _COPIED_ITEMS if code.copies else _COMPREHENDED_ITEMS
        if code.comprehends and _count(data) > items:
            raise self._wrong(
                f"walks over lists, which is possible with at most {items} items in all; name a smaller "
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


def _bytes_of(data: JsonObject) -> int:
    try:
        return len(to_json(data))
    except ValueError as error:
        raise ExpressionError(f"the condition has no value: {no_value(error)}") from error


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


def _refuse_unreadable(source: str) -> None:
    for character, name in (("\0", "NUL"), *((half, "half of a character") for half in _SURROGATE.findall(source))):
        if character in source:
            raise ExpressionError(f"the condition holds {name} at position {source.index(character) + 1}; leave it out")


def _compiled(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as error:
        raise ExpressionError(f"the condition is not valid CEL: {written_wrong(error)}") from error


def _run(
    program: cel.Program, data: JsonObject, functions: Mapping[str, Function], mistake: Callable[[], str | None]
) -> object:
    given: dict[str, object] = {**data, **functions} if functions else data  # pyright: ignore[reportAssignmentType]
    try:
        return program.execute(given)
    except Exception as error:
        # The library answers with whatever built-in exception seems to fit; all of them mean: it has no value.
        why = mistake() if isinstance(error, (TypeError, RuntimeError)) else None
        raise ExpressionError(why or no_value(error)) from error


def _run_alone(source: str) -> object:
    """A part that reads nothing."""
    program = _compiled(as_it_runs(as_the_library_has_it(source)))
    return _run(program, {}, needed(program.functions()), lambda: None)


def _in_words(result: object) -> str:
    if isinstance(result, (str, int, float, list, dict)) or result is None:
        return kind_of(result)  # pyright: ignore[reportUnknownArgumentType]  whatever is in it
    kinds: dict[type, str] = {bytes: "bytes", datetime: "timestamp", timedelta: "duration"}
    return worded(kinds.get(type(result)))


def _refuse_unknown_names(program: cel.Program, code: Code) -> None:
    unknown = set(program.variables()) - set(ROOTS) - code.bound - _TYPES
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ExpressionError(f"the condition reads {names[:200]}; what can be read is {', '.join(ROOTS)}")
    functions = {name for name in program.functions() if _NAME.fullmatch(name)} - FUNCTIONS.keys()
    if functions:
        raise ExpressionError(_unknown(functions))


def _unknown(functions: set[str]) -> str:
    macros = sorted(functions.intersection(MACROS))
    if macros:
        return f"the condition calls {macros[0]} otherwise than as in list.{macros[0]}(item, item.sum > 1)"
    known = ", ".join(sorted(FUNCTIONS))
    return f"the condition calls {', '.join(sorted(functions))[:200]}, which CEL does not have; it has {known}"
