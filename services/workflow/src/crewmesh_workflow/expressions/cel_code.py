"""What can be seen in a condition's code before it is compiled: what it reads, and what would cost too much.

The code is looked at without what stands in texts and comments. CEL ends always, but not always soon: comprehensions
multiply, ``+`` copies, and patterns can stand for very large machines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.expressions.scope import ROOTS, Path

MAX_PLUSES = 20
_MAX_PATTERNS = 5
_MAX_REPETITIONS = 1_000

# Raw strings first: in them \ escapes nothing.
STRINGS_AND_COMMENTS = re.compile(
    r"""//[^\n]*"""
    r"""|[bB]?[rR][bB]?(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"[^"\n]*"|'[^'\n]*')"""
    r"""|[bB]?(?:\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
)
_BLANKS = re.compile(r"\s+")
_COMPREHENSION = re.compile(r"\.\s*(?:map|filter|all|exists_one|existsOne|exists)\s*$")
_COPYING = re.compile(r"\.\s*(?:map|filter)\s*\(")
_BOUND_NAME = re.compile(r"\.\s*(?:map|filter|all|exists_one|existsOne|exists)\s*\(\s*([A-Za-z_]\w*)\s*,")
_COSTLY = re.compile(r"(?:\.\s*)?\b(matches|bytes|string)\s*$")
_PATTERN = re.compile(r"\bmatches\s*\(\s*(?P<text>\"\"\s*\))?")
_REPETITION = re.compile(r"\{\s*([0-9]+)?\s*,?\s*([0-9]+)?\s*\}")
_STEP_BY_KEY = re.compile(r"(?<![\w.])steps\s*\[\s*(?:\"([^\"\\\n]*)\"|'([^'\\\n]*)')\s*\]")
_PATH = re.compile(rf"(?<![\w.])({'|'.join(ROOTS)})((?:\s*\.\s*[A-Za-z_]\w*)*)(?!\w)")
_HAS = re.compile(r"(?<![\w.])has\s*\(\s*$")


@dataclass(frozen=True, slots=True)
class Code:
    """``bound`` are names that comprehensions give. ``everything``: it may read any step, by a name that it finds."""

    reads: tuple[Read, ...]
    bound: frozenset[str]
    everything: bool
    comprehends: bool
    copies: bool
    patterns: bool
    pluses: int


def look_at(source: str) -> Code:
    """Raises ExpressionError for what is not allowed."""
    bare = _BLANKS.sub(" ", STRINGS_AND_COMMENTS.sub(_nothing, source))
    comprehends = _refuse_costly(bare)
    patterns = _refuse_patterns(source, bare)
    pluses = bare.count("+")
    if pluses > MAX_PLUSES:
        raise ExpressionError(f"a condition may hold at most {MAX_PLUSES} +; put texts together in a transform before")
    bound = frozenset(match[1] for match in _BOUND_NAME.finditer(bare))
    by_key = tuple(_by_key(source))
    reads = tuple(_reads(bare, bound))
    return Code(
        reads=(*reads, *by_key),
        bound=bound,
        everything=sum(read.path.root == "steps" and not read.path.segments for read in reads) > len(by_key),
        comprehends=comprehends,
        copies=_COPYING.search(bare) is not None,
        patterns=patterns,
        pluses=pluses,
    )


def _nothing(match: re.Match[str]) -> str:
    return " " if match[0].startswith("//") else '""'


def path_alone(source: str) -> Path | None:
    """The path that the source is, if it is nothing else."""
    match = _PATH.fullmatch(source.strip())
    return None if match is None else _path(match, len(_names(match)))


def _reads(bare: str, bound: frozenset[str]) -> Iterator[Read]:
    """Paths that are written with points. ``has(…)`` may look for what is not there."""
    for match in _PATH.finditer(bare):
        if match[1] in bound or bare[: match.start()].rstrip().endswith("."):
            continue
        looked_for = _HAS.search(bare, max(0, match.start() - 100), match.start()) is not None
        called = bare[match.end() :].lstrip()[:1] == "("
        yield Read(_path(match, len(_names(match)) - (looked_for or called)), guarded=looked_for)


def _by_key(source: str) -> Iterator[Read]:
    for match in _STEP_BY_KEY.finditer(source):
        step = match[1] if match[1] is not None else match[2]
        yield Read(Path(match[0], "steps", (step,)), guarded=False)


def _names(match: re.Match[str]) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", match[2])


def _path(match: re.Match[str], length: int) -> Path:
    names = _names(match)[: max(length, 0)]
    return Path(".".join((match[1], *names)), match[1], tuple(names))


def _refuse_costly(bare: str) -> bool:
    """Whether there is a comprehension at all. ``open_`` holds one flag per open parenthesis: does it belong to one?"""
    open_: list[bool] = []
    found = False
    start = 0
    for match in re.finditer(r"[()+]", bare):
        if match[0] == "+":
            if any(open_):
                raise _costly("+")
            continue
        if match[0] == ")":
            if open_:
                open_.pop()
            start = match.end()
            continue
        before = max(start, match.start() - 200)
        comprehension = _COMPREHENSION.search(bare, before, match.start()) is not None
        if any(open_):
            _refuse_inside(bare, before, match.start(), comprehension)
        open_.append(comprehension)
        found = found or comprehension
        start = match.end()
    return found


def _refuse_inside(bare: str, start: int, end: int, comprehension: bool) -> None:
    if comprehension:
        raise ExpressionError("a condition may not nest all, exists, exists_one, filter or map inside each other")
    costly = _COSTLY.search(bare, start, end)
    if costly is not None:
        raise _costly(costly[1])


def _costly(what: str) -> ExpressionError:
    return ExpressionError(
        f"{what} may not stand inside all, exists, exists_one, filter or map; prepare the list in a step before"
    )


def _refuse_patterns(source: str, bare: str) -> bool:
    """Whether there are patterns. They are written out, so that they are known when the definition is saved."""
    calls = [*_PATTERN.finditer(bare)]
    if not all(call["text"] for call in calls):
        raise ExpressionError("the pattern of matches must be written out as one text in quotes")
    if len(calls) > _MAX_PATTERNS:
        raise ExpressionError(f"a condition may hold at most {_MAX_PATTERNS} patterns; join them with | into one")
    counts = [int(number[-4:]) for match in _REPETITION.finditer(source) for number in match.groups() if number]
    if calls and math.prod(max(count, 1) for count in counts) > _MAX_REPETITIONS:
        raise ExpressionError(f"the repetitions {{n}} of a pattern may come to {_MAX_REPETITIONS} at most")
    return bool(calls)
