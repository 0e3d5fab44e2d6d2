"""Every kind of node, one file each; the union below is the only place that lists them."""

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.workflow.nodes.base import NodeBase, Retry
from crewmesh_contracts.workflow.nodes.crew import CrewNode
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_contracts.workflow.nodes.if_ import IfNode
from crewmesh_contracts.workflow.nodes.knowledge_search import KnowledgeSearchNode

Node = Annotated[KnowledgeSearchNode | CrewNode | IfNode | HttpNode, Field(discriminator="kind")]

__all__ = ["CrewNode", "HttpNode", "IfNode", "KnowledgeSearchNode", "Node", "NodeBase", "Retry"]
