"""A workflow definition, and the checks that need nothing but the definition itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crewmesh_contracts.base import Contract, JsonValue
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.nodes import Node


class EventTrigger(Contract):
    """Start a run for every CloudEvent of this type; with ``source``, only of that source."""

    kind: Literal["event"] = "event"
    type: Annotated[str, Field(min_length=1, max_length=1024)]
    source: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


class Edge(Contract):
    """The way from a node's port to the next node."""

    from_: Annotated[Slug, Field(alias="from")]
    port: str = "out"
    to: Slug


class Definition(Contract):
    """A graph of nodes without cycles.

    Where several edges meet, the node waits for all that are taken; a node that no taken edge reaches is skipped.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=200)]
    triggers: Annotated[tuple[EventTrigger, ...], Field(max_length=20)] = ()
    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=500)]
    edges: Annotated[tuple[Edge, ...], Field(max_length=2_000)] = ()
    output: Annotated[dict[str, JsonValue], Field(description="The run's result; templates may stand anywhere.")] = {}

    @model_validator(mode="after")
    def _graph_holds_together(self) -> Definition:
        problems = [*self._naming_problems(), *self._edge_problems()] or self._cycle_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _naming_problems(self) -> list[str]:
        ids = [node.id for node in self.nodes]
        return [
            f"node id {id_!r} is used {ids.count(id_)} times; ids must be unique"
            for id_ in sorted(set(ids))
            if ids.count(id_) > 1
        ]

    def _edge_problems(self) -> list[str]:
        ports = {node.id: node.ports for node in self.nodes}
        problems: list[str] = []
        for edge in self.edges:
            way = f"edge {edge.from_} → {edge.to}"
            problems += [f"{way}: there is no node {end!r}" for end in (edge.from_, edge.to) if end not in ports]
            if edge.port not in ports.get(edge.from_, (edge.port,)):
                known = ", ".join(ports[edge.from_])
                problems.append(f"{way}: node {edge.from_!r} has no port {edge.port!r}, only {known}")
        return problems

    def _cycle_problems(self) -> list[str]:
        waiting = {node.id: {edge.from_ for edge in self.edges if edge.to == node.id} for node in self.nodes}
        while free := [id_ for id_, before in waiting.items() if not before]:
            for id_ in free:
                del waiting[id_]
            for before in waiting.values():
                before.difference_update(free)
        return [f"nodes {', '.join(sorted(waiting))} form a cycle; a workflow may not loop back"] if waiting else []
