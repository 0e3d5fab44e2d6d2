"""Wait for branches."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.join import JoinNode

from crewmesh_workflow.nodes.base import Meeting, Reader, kind


def _bind(node: JoinNode, read: Reader) -> Meeting:
    needed = {"all": None, "any": 1, "count": node.count}
    return Meeting(needed[node.mode])


KIND = kind(JoinNode, _bind)
