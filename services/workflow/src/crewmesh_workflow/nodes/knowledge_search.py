"""Ask a knowledge base. Output: ``hits``, and ``text``: the hits joined for a prompt."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEARCH, SearchRequest
from crewmesh_contracts.workflow.nodes.knowledge_search import KnowledgeSearchNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import fits

_FITS_QUERY = fits(SearchRequest, "query")


def _compile(node: KnowledgeSearchNode, read: Reader) -> Callable[[Scope], SearchRequest]:
    query = read.template("query", node.query)
    read.constant("query", query, _FITS_QUERY)
    return lambda scope: SearchRequest(knowledge_base=node.knowledge_base, query=query.text(scope), limit=node.limit)


async def _run(request: SearchRequest, context: EffectContext) -> JsonObject:
    result = await context.call(SEARCH, request)
    text = "\n\n".join(f"{hit.title}\n{hit.text}" for hit in result.hits)
    return {"hits": [hit.model_dump(mode="json") for hit in result.hits], "text": text}


KIND = effect_kind(node=KnowledgeSearchNode, request=SearchRequest, compile_=_compile, run=_run, reaches_world=False)
