"""Compiles the expressions of one place in a definition and collects what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow import Graph

from crewmesh_workflow.expressions import Condition, ExpressionError, Scope, Template, compile_template
from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.program.errors import Mistakes, ValueT
from crewmesh_workflow.program.model import CompiledGraph
from crewmesh_workflow.program.outputs import shape_of_template
from crewmesh_workflow.program.shapes import TRUTH
from crewmesh_workflow.program.sight import Sight

NOTHING = compile_template(None)
_NEVER = Condition.compile("false")
_NO_SCOPE = Scope({}, {})


@dataclass(frozen=True, slots=True)
class PlaceReader:
    """``place`` is what paths begin with: ``nodes.search.``; ``nested`` compiles a graph that stands here.

    ``wanted`` says what some fields must become, and ``seen`` collects the steps that are read.
    """

    place: str
    sight: Sight
    mistakes: Mistakes
    seen: set[str]
    nested: Callable[[str, Graph, Sight], CompiledGraph]
    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def template(self, path: str, value: JsonValue) -> Template:
        good = [self._text(place, text) for place, text in _texts(path, value)]
        if not all(good):
            return NOTHING
        try:
            compiled = compile_template(value)
        except ExpressionError as error:
            self.mistake(path, str(error))
            return NOTHING
        self._check_kind(path, value)
        return compiled

    def condition(self, path: str, source: str, *, reads: tuple[str, ...] = ()) -> Condition:
        try:
            condition = Condition.compile(source, place=f"{self.place}{path}")
        except ExpressionError as error:
            self.mistake(path, str(error))
            return _NEVER
        self.written(path, condition, Condition.refuse_in_vain)
        sight = self.sight.reading(*reads)
        self._check_reads(path, condition.reads(), sight)
        alone = condition.path
        kinds = None if alone is None else sight.shape(alone).kinds
        if kinds is not None and TRUTH not in kinds:
            self.mistake(path, f"a condition must be true or false, but this is {_or(kinds)}")
        return condition

    def graph(self, path: str, graph: Graph, *, reads: tuple[str, ...] = ()) -> CompiledGraph:
        return self.nested(f"{self.place}{path}.", graph, self.sight.reading(*reads))

    def mistake(self, path: str, message: str) -> None:
        self.mistakes.add(f"{self.place}{path}", message)

    def written(self, path: str, value: ValueT, judge: Callable[[ValueT], object]) -> None:
        self.mistakes.judge(f"{self.place}{path}", value, judge)

    def constant(self, path: str, template: Template, judge: Callable[[JsonValue], object]) -> None:
        if template is not NOTHING and next(template.expressions(), None) is None:
            self.written(path, template.value(_NO_SCOPE), judge)

    def _text(self, path: str, text: str) -> bool:
        try:
            template = compile_template(text)
        except ExpressionError as error:
            self.mistake(path, str(error))
            return False
        self.written(path, template, Template.check_constants)
        self._check_reads(path, template.reads(), self.sight)
        return True

    def _check_reads(self, path: str, reads: Iterable[Read], sight: Sight) -> None:
        for read in reads:
            if read.path.step is not None:
                self.seen.add(read.path.step)
            wrong = sight.wrong(read)
            if wrong is not None:
                self.mistake(path, f"{read.path.text}: {wrong}")

    def _check_kind(self, path: str, value: JsonValue) -> None:
        wanted = self.wanted.get(path)
        if wanted is None:
            return
        shape = shape_of_template(value, self.sight.shape)
        if shape.kinds is not None and not shape.kinds & wanted:
            self.mistake(path, f"this must be {_or(wanted)}, but it is {shape}")


def _or(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))


def _texts(path: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """Every text in the value, and where it is."""
    waiting = [(path, value)]
    while waiting:
        place, found = waiting.pop()
        if isinstance(found, str):
            yield place, found
        elif isinstance(found, list):
            waiting += [(f"{place}.{number}", item) for number, item in enumerate(found)][::-1]
        elif isinstance(found, dict):
            waiting += [(f"{place}.{name}", member) for name, member in found.items()][::-1]
