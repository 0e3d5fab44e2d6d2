"""Conditions: CEL over what templates can read, compiled once, evaluated without any way out.

CEL ends always, but not always soon: nested comprehensions multiply. So a condition may not nest them, and one that has
a comprehension sees only a modest amount of data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import cel
from pydantic_core import to_json

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.expressions.scope import ROOTS, Path, Scope

_COMPREHENSION_DATA_BYTES = 128 * 1024

# Strings and comments, so that what stands in them is not taken for code. Raw strings first: in them \ escapes nothing.
_STRINGS_AND_COMMENTS = re.compile(
    r"""//[^\n]*"""
    r"""|[bB]?[rR][bB]?(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"[^"\n]*"|'[^'\n]*')"""
    r"""|[bB]?(?:\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
)
_COMPREHENSION = re.compile(r"\.\s*(?:map|filter|all|exists_one|existsOne|exists)\s*$")
_BOUND_NAME = re.compile(r"\.\s*(?:map|filter|all|exists_one|existsOne|exists)\s*\(\s*([A-Za-z_]\w*)\s*,")
_STEP_BY_NAME = re.compile(r"(?<![\w.])steps\s*\.\s*([A-Za-z_]\w*)")
_STEP_BY_KEY = re.compile(r"(?<![\w.])steps\s*\[\s*(?:\"([^\"\\\n]*)\"|'([^'\\\n]*)')\s*\]")
_PATH = re.compile(rf"(?<![\w.])({'|'.join(ROOTS)})((?:\s*\.\s*[A-Za-z_]\w*)*)(?!\w)")
_HAS = re.compile(r"(?<![\w.])has\s*\(\s*$")

# Operators are functions to CEL as well, with names like _+_ and @in.
_NAME = re.compile(r"\w+")
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_CONVERTING = {"bytes", "double", "duration", "dyn", "int", "size", "string", "timestamp", "type", "uint"}
_OF_TEXTS = {"contains", "endsWith", "matches", "startsWith"}
_OF_TIMES = {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
_FUNCTIONS = frozenset(_CONVERTING | _OF_TEXTS | _OF_TIMES | {"getMinutes", "getMonth", "getSeconds"})


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    source: str
    program: cel.Program
    comprehends: bool

    @staticmethod
    def compile(source: str) -> Condition:
        """Read it; raises ExpressionError with the place of the first mistake."""
        code = _code(source)
        comprehends = _refuse_nesting(code)
        try:
            program = cel.compile(source)
        except ValueError as error:
            raise ExpressionError(f"the condition is not valid CEL: {_first_line(error)}") from error
        _refuse_unknown_names(program, code)
        return Condition(source, program, comprehends)

    @property
    def path(self) -> Path | None:
        """The path that it is, if it is nothing else."""
        match = _PATH.fullmatch(self.source.strip())
        return None if match is None else _path(match, len(_names(match)))

    def reads(self) -> Iterator[Read]:
        """The paths that it reads, as far as they are written out with points. ``has(…)`` may look for what is not."""
        code = _code(self.source)
        bound = _bound(code)
        for match in _PATH.finditer(code):
            if match[1] in bound or code[: match.start()].rstrip().endswith("."):
                continue
            names = _names(match)
            looked_for = _HAS.search(code, max(0, match.start() - 100), match.start()) is not None
            called = code[match.end() :].lstrip()[:1] == "("
            yield Read(_path(match, len(names) - (looked_for or called)), guarded=looked_for)
        for match in _STEP_BY_KEY.finditer(self.source):
            step = match[1] if match[1] is not None else match[2]
            yield Read(Path(match[0], "steps", (step,)), guarded=False)

    def step_names(self) -> Iterator[str]:
        """The steps that it reads, as far as they are written out."""
        code = _code(self.source)
        yield from (match[1] for match in _STEP_BY_NAME.finditer(code))
        yield from (match[1] if match[1] is not None else match[2] for match in _STEP_BY_KEY.finditer(self.source))

    def roots(self) -> frozenset[str]:
        """The roots that it reads."""
        return frozenset(self.program.variables()) & frozenset(ROOTS)

    def evaluate(self, scope: Scope) -> bool:
        """True or false; anything else, and anything missing, is an error."""
        data = scope.all()
        if self.comprehends and len(to_json(data)) > _COMPREHENSION_DATA_BYTES:
            limit = _COMPREHENSION_DATA_BYTES // 1024
            raise ExpressionError(f"the condition walks over lists, which is possible with at most {limit} KiB of data")
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


def _code(source: str) -> str:
    """Without what stands in texts and comments."""
    return _STRINGS_AND_COMMENTS.sub('""', source)


def _bound(code: str) -> set[str]:
    """Names that comprehensions give to items."""
    return {match[1] for match in _BOUND_NAME.finditer(code)}


def _names(match: re.Match[str]) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", match[2])


def _path(match: re.Match[str], length: int) -> Path:
    names = _names(match)[: max(length, 0)]
    return Path(".".join((match[1], *names)), match[1], tuple(names))


def _refuse_nesting(code: str) -> bool:
    """Whether there is a comprehension at all. ``open_`` holds one flag per open parenthesis: does it belong to one?"""
    open_: list[bool] = []
    found = False
    start = 0
    for match in re.finditer(r"[()]", code):
        if match[0] == ")":
            if open_:
                open_.pop()
            start = match.end()
            continue
        comprehension = _COMPREHENSION.search(code, max(start, match.start() - 200), match.start()) is not None
        if comprehension and any(open_):
            raise ExpressionError("a condition may not nest all, exists, exists_one, filter or map inside each other")
        open_.append(comprehension)
        found = found or comprehension
        start = match.end()
    return found


def _refuse_unknown_names(program: cel.Program, code: str) -> None:
    unknown = set(program.variables()) - set(ROOTS) - _bound(code) - _TYPES
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
