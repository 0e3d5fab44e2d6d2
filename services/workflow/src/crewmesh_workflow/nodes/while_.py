"""Repeat a body as long as a condition is true."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.while_ import WhileNode

from crewmesh_workflow.nodes.base import Reader, Repeat, kind

_READS = ("index", "last")


def _bind(node: WhileNode, read: Reader) -> Repeat:
    return Repeat(
        condition=read.condition("condition", node.condition, reads=_READS),
        body=read.graph("body", node.body, reads=_READS),
        most=node.max_iterations,
    )


KIND = kind(WhileNode, _bind)
