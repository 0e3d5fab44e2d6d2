"""A graph of nodes: the whole of a workflow, the body of a loop, or what is done when a run fails."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from crewmesh_contracts.base import Contract, JsonValue
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS, NodeBase

# Any node: the static type is the base, what is accepted is each kind there is.
Node = Annotated[NodeBase, NODE_KINDS]


class Edge(Contract):
    """The way from a node's port to the next node."""

    from_: Annotated[Slug, Field(alias="from")]
    port: str = "out"
    to: Slug


class Graph(Contract):
    """Nodes and the ways between them, without cycles.

    Where several edges meet, the node waits for all of them and runs when at least one was taken (a join may run
    earlier). A node that no taken edge reaches is skipped.
    """

    # The kinds are known only when all of their modules are there, and some of them hold a graph themselves.
    model_config = ConfigDict(defer_build=True)

    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=500)]
    edges: Annotated[tuple[Edge, ...], Field(max_length=2_000)] = ()
    output: Annotated[dict[str, JsonValue], Field(description="The result; templates may stand anywhere.")] = {}
