"""Compiles the expressions of one place in a definition and collects what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow import Graph

from crewmesh_workflow.expressions import Condition, ExpressionError, Template, compile_template
from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.program.model import CompiledGraph
from crewmesh_workflow.program.sight import Sight

_NOTHING = compile_template(None)
_NEVER = Condition.compile("false")


@dataclass(frozen=True, slots=True)
class PlaceReader:
    """``place`` is what paths begin with: ``nodes.search.``; ``nested`` compiles a graph that stands here."""

    place: str
    sight: Sight
    mistakes: Mistakes
    nested: Callable[[str, Graph, Sight], CompiledGraph]

    def template(self, path: str, value: JsonValue) -> Template:
        good = [self._text(place, text) for place, text in _texts(path, value)]
        return compile_template(value) if all(good) else _NOTHING

    def condition(self, path: str, source: str, *, reads: tuple[str, ...] = ()) -> Condition:
        try:
            condition = Condition.compile(source)
        except ExpressionError as error:
            self.mistake(path, str(error))
            return _NEVER
        sight = self.sight.reading(*reads)
        wrong = [sight.wrong_root(root) for root in sorted(condition.roots())]
        wrong += [sight.wrong_step(step) for step in sorted(set(condition.step_names()))]
        for message in wrong:
            if message is not None:
                self.mistake(path, message)
        return condition

    def graph(self, path: str, graph: Graph, *, reads: tuple[str, ...] = ()) -> CompiledGraph:
        return self.nested(f"{self.place}{path}.", graph, self.sight.reading(*reads))

    def mistake(self, path: str, message: str) -> None:
        self.mistakes.add(f"{self.place}{path}", message)

    def _text(self, path: str, text: str) -> bool:
        try:
            template = compile_template(text)
        except ExpressionError as error:
            self.mistake(path, str(error))
            return False
        for read in template.paths():
            wrong = self.sight.wrong_root(read.root)
            if wrong is None and read.step is not None:
                wrong = self.sight.wrong_step(read.step)
            if wrong is not None:
                self.mistake(path, wrong)
        return True


def _texts(path: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """Every text in the value, and where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(f"{path}.{number}", item)
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _texts(f"{path}.{name}", member)
