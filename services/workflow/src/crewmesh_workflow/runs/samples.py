"""Whether the samples of a test run are for steps that there are, and are what such steps give."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import AnyOutput, NodeBase
from crewmesh_contracts.workflow.nodes.input_ import InputNode
from crewmesh_contracts.workflow.nodes.llm import LlmNode
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.misshapen import ShapeError, told
from pydantic import ValidationError
from pydantic_core import to_json

from crewmesh_workflow import json_schemas
from crewmesh_workflow.engine.places import node_at
from crewmesh_workflow.engine.pretend import data_schema
from crewmesh_workflow.nodes.base import Each, Repeat
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode, Program

_MOST_NAMED = 10
# A sample may be a part of an output, and its run need not exist.
_BEARABLE = ("missing", "string_pattern_mismatch")

Mistake = tuple[str, str]


class InvalidSamples(ValidationFailed):
    """A sample is for a step that there is not, or is not what its step gives; ``errors`` lists each place."""

    slug, title = "invalid-samples", "Invalid samples"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(
            "The samples do not fit the workflow; correct each place in errors.",
            errors=[{"path": path, "message": message} for path, message in mistakes],
        )


def check_samples(program: Program, samples: Mapping[str, JsonObject]) -> None:
    """InvalidSamples with every mistake."""
    if not samples:
        return
    by_id: dict[str, list[CompiledNode]] = {}
    for node in _nodes(program):
        by_id.setdefault(node.id, []).append(node)
    found: list[Mistake] = []
    for name, sample in samples.items():
        at = node_at(program, name)
        meant = [at] if at is not None else by_id.get(name, [])
        if not meant:
            found.append((f"samples.{name}", _unknown(name, sorted(by_id))))
            continue
        wrong = [[*output_mistakes(node.node, sample, f"samples.{name}")] for node in meant]
        found += min(wrong, key=len)  # several bodies may have a step of this id
    if found:
        raise InvalidSamples(found)


def _nodes(program: Program) -> Iterator[CompiledNode]:
    waiting: list[CompiledGraph] = [program.main, *([program.on_failure] if program.on_failure else [])]
    while waiting:
        for node in waiting.pop().nodes:
            yield node
            if isinstance(node.does, Each | Repeat):
                waiting.append(node.does.body)


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=_MOST_NAMED, cutoff=0.5)
    named = near or known[:_MOST_NAMED]
    more = "" if len(named) == len(known) else ", among others"
    return f"there is no such step; there are {', '.join(named)}{more}"


def output_mistakes(node: NodeBase, sample: JsonObject, place: str) -> Iterator[Mistake]:
    """What no step of this node gives. Also of an output that people tell."""
    if node.Output is not AnyOutput:
        yield from _wrong_types(node, sample, place)
    schema = node.form if isinstance(node, InputNode) else data_schema(node)
    if schema is not None and "data" in sample:
        yield from json_schemas.mistakes(schema, sample["data"], place=f"{place}.data")
    if isinstance(node, LlmNode) and node.task == "classify" and "label" in sample:
        label = sample["label"]
        if isinstance(label, str) and label not in node.labels:
            yield f"{place}.label", f"this is none of the labels: {', '.join(node.labels)}"


def _wrong_types(node: NodeBase, sample: JsonObject, place: str) -> Iterator[Mistake]:
    try:
        node.Output.model_validate_json(to_json(sample), strict=True)
    except ValidationError as error:
        errors = cast("list[ShapeError]", error.errors(include_url=False))
        for loc, message in told([each for each in errors if each["type"] not in _BEARABLE], sample):
            yield ".".join((place, *map(str, loc))), message
