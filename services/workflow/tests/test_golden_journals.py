"""What each kind of node leaves in the journal, commit by commit, kept as files in ``golden``.

A journal outlives the code that wrote it: runs wait for weeks. So each file is read in two ways. Written anew by this
code, the journal must be the same to the letter. And from every commit of the kept one this code must go on to the same
end. Where a change is meant, CREWMESH_REWRITE_GOLDEN=1 writes the journals anew; the difference is then for review.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.steps import Failed, Finished, Step, StepError
from crewmesh_workflow.engine.turn import Facts, Ready, Turn
from crewmesh_workflow.engine.turns import commit_of
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import CompiledEffect, WaitFor
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program

GOLDEN = Path(__file__).parent / "golden"
REWRITE = os.environ.get("CREWMESH_REWRITE_GOLDEN") == "1"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Golden:
    """A case: what is run and what happens to it, and the journal that came of it.

    ``happens`` holds, by path, what each attempt of an effect brings ({output}, {again}, or {failed}), or what arrives
    for a wait; a wait without anything is over when its time is.
    """

    definition: JsonObject
    data: JsonValue
    happens: Mapping[str, Sequence[JsonObject]]
    journal: Sequence[JsonObject]

    @property
    def program(self) -> Program:
        return compile_program(Definition.model_validate(self.definition), all_kinds())


class _Driver:
    """Does one thing at a time, in the order in which things became possible."""

    def __init__(self, golden: Golden, known: Mapping[str, Step]) -> None:
        self._happens = golden.happens
        self._program = golden.program
        facts = Facts("run_golden", {"kind": "api", "data": golden.data}, {"id": "run_golden", "version": 1})
        self._execution = Execution(self._program, facts, known, now=lambda: NOON)
        self._pending: dict[str, Ready] = {}

    def turns(self) -> Iterator[Turn]:
        turn = self._execution.begin()
        while True:
            yield turn
            if turn.end is not None:
                return
            self._pending |= {ready.step.path: ready for ready in turn.ready}
            for path in turn.stopped:
                self._pending.pop(path, None)
            turn = self._next()

    def commit(self, turn: Turn) -> JsonObject:
        commit = commit_of(self._program, turn)
        events: list[JsonValue] = [f"{event.type} {event.data.get('node') or ''}".strip() for event in commit.events]
        entry: JsonObject = {"events": events, "steps": {step.path: _kept(step) for step in commit.steps}}
        entry |= {"emitted": [asdict(emitted) for emitted in commit.emitted]} if commit.emitted else {}
        entry |= {"response": commit.response} if commit.response is not None else {}
        entry |= {"closed": [*commit.closed]} if commit.closed else {}
        if isinstance(commit.end, Finished):
            entry["end"] = {"output": commit.end.output}
        elif isinstance(commit.end, Failed):
            entry["end"] = {"failed": commit.end.path, **commit.end.error.as_json()}
        return entry

    def _next(self) -> Turn:
        effect = next((ready for ready in self._pending.values() if isinstance(ready.does, CompiledEffect)), None)
        if effect is not None:
            del self._pending[effect.step.path]
            return self._execution.happened([self._attempted(effect.step)])
        path = next(iter(self._execution.waiting))
        if path in self._happens:
            return self._execution.happened(arrived={path: self._happens[path][0]})
        return self._execution.happened(overdue=[path])

    def _attempted(self, step: Step) -> Step:
        # The same attempt brings the same, whoever makes it.
        brought = self._happens[step.path][step.attempt - 1]
        if "output" in brought:
            return step.completed(cast(JsonObject, brought["output"]))
        error = StepError("far-side-failed", "It did not work.")
        return step.again(error, cast(float, brought["again"])) if "again" in brought else step.failed(error)


def _kept(step: Step) -> JsonObject:
    """The step without what is not set, and without the id of its wait, which is drawn."""
    whole = cast(JsonObject, json.loads(json.dumps(asdict(step))))
    usual: dict[str, object] = {**asdict(Step("", "running")), "ports": []}
    return {name: value for name, value in whole.items() if name not in ("path", "wait_id") and value != usual[name]}


def _read_back(path: str, kept: JsonObject) -> Step:
    known = {field.name for field in fields(Step)}
    values: dict[str, object] = {"status": "running", **kept}
    assert set(values) <= known, "a journal from before has something that steps do not have any more"
    values["ports"] = tuple(cast("list[str]", kept.get("ports", [])))
    if isinstance(error := kept.get("error"), dict):
        values["error"] = StepError(str(error["type"]), str(error["detail"]))
    if isinstance(wait := kept.get("wait"), dict):
        values["wait"] = WaitFor(**wait)  # pyright: ignore[reportArgumentType]  as it was written
    return Step(path, **values)  # pyright: ignore[reportArgumentType]  as it was written


def _journal(golden: Golden, known: Mapping[str, Step]) -> list[JsonObject]:
    driver = _Driver(golden, known)
    journal: list[JsonObject] = []
    for turn in driver.turns():
        journal.append(driver.commit(turn))
    return journal


def _golden(path: Path) -> Golden:
    return Golden(**json.loads(path.read_text()))


FILES = sorted(GOLDEN.glob("*.json"))


def test_every_kind_of_node_has_a_golden_journal() -> None:
    nodes = [node for path in FILES for node in cast("list[JsonObject]", _golden(path).definition["nodes"])]
    assert {str(node["kind"]) for node in nodes} == set(NODE_KINDS.all())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_this_code_writes_the_same_journal(path: Path) -> None:
    golden = _golden(path)
    journal = _journal(golden, {})
    if REWRITE:
        whole = {"definition": golden.definition, "data": golden.data, "happens": golden.happens, "journal": journal}
        path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        return
    assert journal == golden.journal


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_this_code_goes_on_from_every_commit_of_an_old_journal(path: Path) -> None:
    golden = _golden(path)
    known: dict[str, Step] = {}
    for number, entry in enumerate(golden.journal[:-1]):
        steps = cast("dict[str, JsonObject]", entry["steps"])
        known |= {step: _read_back(step, kept) for step, kept in steps.items()}
        taken_up, *rest = _journal(golden, known)
        assert taken_up["steps"] == {}, f"what commit {number} holds is decided again"
        assert rest == golden.journal[number + 1 :]
