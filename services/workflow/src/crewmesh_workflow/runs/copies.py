"""What a new run takes over from another run: the steps that are done, and that what is to be redone does not change.

Only whole steps of the workflow itself are taken over, a loop with all of its rounds or not at all. Redone are the step
that is named, and every step that a way leads to from there. So is a step that was undone by its compensation, or will
be, for its effect is there no more then, and what follows from it. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.set_ import SetNode

from crewmesh_workflow.engine.places import UNDO, node_at
from crewmesh_workflow.engine.steps import StepStatus
from crewmesh_workflow.nodes.base import CompiledEffect
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, Program
from crewmesh_workflow.runs.errors import CannotGoOnFrom, UnknownStep, UnknownVariable
from crewmesh_workflow.runs.places import is_top, is_undo, top_of


@dataclass(frozen=True, slots=True)
class PastStep:
    """A step as the journal of the other run has it; large payloads are references and stay so.

    ``finished`` orders the ends of steps within their run.
    """

    path: str
    position: int
    status: StepStatus
    attempt: int = 1
    input: JsonObject | None = None
    output: JsonObject | None = None
    port: str | None = None
    error: JsonObject | None = None
    rounds: int = 0
    finished: int | None = None


Wanted = Callable[[PastStep], bool]


def copied_steps(
    program: Program, steps: Sequence[PastStep], from_path: str, *, edited: JsonObject | None = None
) -> tuple[PastStep, ...]:
    """What a run that begins again at ``from_path`` finds done.

    With ``edited``, the step is there as begun with that input, so that the engine does it with exactly that.
    """
    known = {step.path: step for step in steps}
    node = _start(program, known, from_path)
    undone = _undone(steps)
    before = _ways_to(program.main, from_path) & undone
    if before:
        first = next(other.id for other in program.main.nodes if other.id in before)
        raise CannotGoOnFrom(
            from_path, f"the step {first} before it is undone by the end of the run; begin again from {first}"
        )
    redone = _followers(program.main, {from_path, *undone})
    kept = _kept(program.main, known, redone)
    copies = _with_rounds(steps, kept)
    return copies if edited is None else (*copies, _begun(node, known[from_path], edited))


def steps_before(program: Program, steps: Sequence[PastStep], from_path: str, *, old: Program) -> tuple[PastStep, ...]:
    """What a fork before the step finds done, in a version of the workflow that may be another than that of the run."""
    _start(old, {step.path: step for step in steps}, from_path)
    redone = {from_path, *_undone(steps), *_changed(program, old, steps)}
    return _forked(program.main, steps, redone)


def steps_until(
    program: Program, steps: Sequence[PastStep], ended: Container[str], *, old: Program
) -> tuple[PastStep, ...]:
    """What a fork at a moment of the run finds done; ``ended``: the paths of the steps that had ended by then."""
    redone = {*_undone(steps), *_changed(program, old, steps)}
    return _forked(program.main, steps, redone, wanted=lambda step: step.path in ended)


def with_variables(
    program: Program, copies: Sequence[PastStep], variables: Mapping[str, JsonValue]
) -> tuple[PastStep, ...]:
    """The same with other values in variables: each in the step that set it last."""
    changed = {copy.path: copy for copy in copies}
    for name, value in variables.items():
        setting = [copy for copy in changed.values() if name in (copy.output or {}) and _sets(program, copy)]
        if not setting:
            raise UnknownVariable(name)
        last = max(setting, key=lambda copy: copy.finished or 0)
        changed[last.path] = replace(last, output={**(last.output or {}), name: value})
    return tuple(changed.values())


def with_all_to_be_undone(program: Program, steps: Sequence[PastStep]) -> list[PastStep]:
    """The steps of a run that is failing or being cancelled, and its compensations as if all of them had begun."""
    known = {step.path for step in steps}
    return [*steps, *(PastStep(path, 0, "running") for path in _to_be_undone(program, steps) if path not in known)]


def _to_be_undone(program: Program, steps: Iterable[PastStep]) -> Iterator[str]:
    """Paths of compensations. What the failure handler did is not undone, nor what failed and was handled."""
    for step in steps:
        if step.status == "completed" and step.error is None and "!" not in step.path:
            node = node_at(program, step.path)
            if node is not None and node.undo is not None:
                yield step.path + UNDO


def _sets(program: Program, step: PastStep) -> bool:
    node = node_at(program, step.path)
    return step.status == "completed" and node is not None and isinstance(node.node, SetNode)


def _start(program: Program, known: Mapping[str, PastStep], path: str) -> CompiledNode:
    """The node to begin at, if one can."""
    if path.startswith("!") or is_undo(path):
        raise CannotGoOnFrom(path, "it undid a step or handled the failure of the run; name a step of the workflow")
    if not is_top(path):
        raise CannotGoOnFrom(path, f"it is inside a loop; name the loop, {top_of(path)}: all its rounds are done again")
    node = program.main.by_id.get(path)
    if node is None:
        raise UnknownStep(path)
    if path not in known:
        raise CannotGoOnFrom(path, "the run did not get there; name a step that it reached, or use rerun")
    if known[path].status == "skipped":
        raise CannotGoOnFrom(path, "it was skipped, for no way led to it; name a step that decided so, or use rerun")
    return node


def _begun(node: CompiledNode, step: PastStep, edited: JsonObject) -> PastStep:
    if not isinstance(node.does, CompiledEffect):
        raise CannotGoOnFrom(node.id, "it is no action, so it has no input to edit; leave the input out")
    node.does.judge(edited, "input")
    return PastStep(path=step.path, position=step.position, status="running", attempt=0, input=edited)


def _forked(
    graph: CompiledGraph, steps: Sequence[PastStep], redone: Iterable[str], *, wanted: Wanted = lambda _: True
) -> tuple[PastStep, ...]:
    known = {step.path: step for step in steps if not is_top(step.path) or wanted(step)}
    return _with_rounds(steps, _kept(graph, known, _followers(graph, redone)))


def _undone(steps: Iterable[PastStep]) -> frozenset[str]:
    """Steps whose effect is taken back, or may be, or that hold such a step in one of their rounds."""
    return frozenset(
        top_of(step.path) for step in steps if is_undo(step.path) and step.status not in ("skipped", "cancelled")
    ) - {""}


def _followers(graph: CompiledGraph, ids: Iterable[str]) -> frozenset[str]:
    """These nodes and all that a way leads to from them; nodes stand in an order that respects the edges."""
    found = set(ids)
    for node in graph.nodes:
        if any(edge.from_ in found for edge in node.incoming):
            found.add(node.id)
    return frozenset(found)


def _ways_to(graph: CompiledGraph, id_: str) -> frozenset[str]:
    """All nodes that a way leads from to this one."""
    found = {id_}
    for node in reversed(graph.nodes):
        if any(edge.to in found for edge in node.outgoing):
            found.add(node.id)
    return frozenset(found - {id_})


def _kept(graph: CompiledGraph, known: Mapping[str, PastStep], redone: frozenset[str]) -> frozenset[str]:
    """Steps that are decided. What a join did not need is, as long as the join is."""
    status = {id_: step.status for id_, step in known.items() if id_ in graph.by_id and id_ not in redone}
    kept = {id_ for id_, each in status.items() if each in ("completed", "skipped")}
    for node in graph.nodes:
        if status.get(node.id) == "completed":
            kept |= {id_ for id_ in node.only_before if status.get(id_) in ("cancelled", "failed")}
        elif node.id in redone:
            kept -= {id_ for id_ in node.only_before if status.get(id_) == "skipped"}
    return frozenset(kept)


def _with_rounds(steps: Iterable[PastStep], kept: frozenset[str]) -> tuple[PastStep, ...]:
    """The kept steps with what happened inside them, numbered anew in the order of their ends."""
    copies = [step for step in steps if top_of(step.path) in kept and not is_undo(step.path)]
    copies.sort(key=lambda step: (step.finished is None, step.finished or 0, step.position, step.path))
    return tuple(replace(step, finished=number) for number, step in enumerate(copies, start=1))


def _changed(new: Program, old: Program, steps: Iterable[PastStep]) -> frozenset[str]:
    """Steps that are something else in the new version, or are reached by other ways, or hold such a step."""
    if new is old:
        return frozenset()
    return frozenset(top_of(step.path) for step in steps if not _same(new, old, step.path)) - {""}


def _same(new: Program, old: Program, path: str) -> bool:
    is_, was = node_at(new, path), node_at(old, path)
    if is_ is None or was is None:
        return path.startswith("!")  # the failure handler is never taken over
    return type(is_.node) is type(was.node) and _ways(is_) == _ways(was)


def _ways(node: CompiledNode) -> frozenset[tuple[str, str]]:
    return frozenset((edge.from_, edge.port) for edge in node.incoming)
