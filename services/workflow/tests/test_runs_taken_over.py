"""Steps that a run takes over survive what every step survives: no room here, a crash, a driver that goes on."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_workflow.engine.starter import CopiedStep

from services.workflow.tests.conftest import Bench


def answering(bench: Bench) -> list[str]:
    asked: list[str] = []

    async def found(request: SearchRequest) -> SearchResult:
        asked.append(request.query)
        return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text=request.query, score=1),))

    bench.sidecar.answer(SEARCH, found)
    return asked


def search(id_: str, query: str) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": query}


async def test_a_run_without_room_here_is_gone_on_with_elsewhere(idle: Bench) -> None:
    asked = answering(idle)
    loop: JsonValue = {
        "id": "loop",
        "kind": "for_each",
        "items": "{{ steps.a.output.hits }}",
        "body": {"nodes": [{"id": "v", "kind": "set", "variables": {"seen": "{{ index }}"}}]},
    }
    workflow = await idle.save(
        [search("a", "a"), loop, search("b", "from the node")],
        [{"from": "a", "to": "loop"}, {"from": "loop", "to": "b"}],
        output={"seen": "{{ vars.seen }}", "text": "{{ steps.b.output.text }}"},
    )
    hit: JsonObject = {"document": "d", "title": "T", "position": 0, "text": "x", "score": 1}
    copied = (
        CopiedStep("a", "completed", 1, 1, output={"hits": [hit], "text": "x"}, ports=("out",), finished=1),
        CopiedStep("loop[0].v", "completed", 1, 2, output={"seen": 0}, ports=("out",), finished=2),
        CopiedStep(
            "loop", "completed", 1, 3, output={"items": [{}], "errors": [], "count": 1}, ports=("out",), finished=3
        ),
        CopiedStep("b", "running", 0, 4, input={"knowledge_base": "kb", "query": "edited"}),
    )
    run = await idle.start(workflow, copied=copied)
    assert asked == []
    await idle.parts.sweeper.sweep()
    await idle.drive()
    await idle.settle()
    row = await idle.row(run)
    assert (row["status"], row["output"]) == ("completed", {"seen": 0, "text": "T\nedited"})
    assert asked == ["edited"]
    steps = await idle.steps(run)
    assert (steps["b"]["attempt"], steps["b"]["input"]["query"]) == (1, "edited")
