"""The workflow language: a definition is a graph of typed nodes, immutable once a run uses it."""

from crewmesh_contracts.workflow.definition import Definition
from crewmesh_contracts.workflow.graph import Edge, Graph, Node
from crewmesh_contracts.workflow.triggers.event import EventTrigger

__all__ = ["Definition", "Edge", "EventTrigger", "Graph", "Node"]
