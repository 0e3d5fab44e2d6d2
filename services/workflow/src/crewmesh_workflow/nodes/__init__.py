"""What each kind of node does: one file per kind, found and not listed.

A file that defines ``KIND`` adds a kind. What a node says is in the contracts, in the file of the same name.
"""

from __future__ import annotations

from functools import cache

from crewmesh_workflow.nodes.base import NodeKinds, find_kinds


@cache
def all_kinds() -> NodeKinds:
    """Every kind there is. Looked for when first asked, for kinds hold graphs and graphs hold kinds."""
    return find_kinds("crewmesh_workflow.nodes")
