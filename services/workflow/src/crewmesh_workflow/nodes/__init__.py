"""What each kind of node does, one file per kind; the list below is the only place that names the effects."""

from crewmesh_workflow.nodes.base import CompiledEffect, EffectContext, EffectKind, EffectKinds, ExpressionReader
from crewmesh_workflow.nodes.crew import CREW
from crewmesh_workflow.nodes.http import HTTP
from crewmesh_workflow.nodes.knowledge_search import KNOWLEDGE_SEARCH

EFFECT_KINDS = EffectKinds((KNOWLEDGE_SEARCH, CREW, HTTP))

__all__ = ["EFFECT_KINDS", "CompiledEffect", "EffectContext", "EffectKind", "EffectKinds", "ExpressionReader"]
