"""The workflow language: a definition is a graph of typed nodes, immutable once a run uses it."""

from crewmesh_contracts.workflow.definition import Definition, Edge, EventTrigger
from crewmesh_contracts.workflow.nodes import Node

__all__ = ["Definition", "Edge", "EventTrigger", "Node"]
