"""Toolboxes as turns get them: a real journal and real policies, other services as scripted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition
from crewmesh_agent_crew.guardrails.policies.service import Policies
from crewmesh_agent_crew.guardrails.settings import Guardrails
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.tools.grants import ToolGrant
from crewmesh_agent_crew.tools.guarded import GuardedToolbox, Means
from crewmesh_agent_crew.tools.service import Tools
from crewmesh_agent_crew.tools.toolbox import NeedsDecisionError, Question
from crewmesh_agent_crew.tools.work import ToolUse, WorkContext, acting_as
from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import (
    RUN_ACTION,
    RUN_CODE,
    SEARCH,
    SEND_HTTP,
    ActionRequest,
    ActionResult,
    CodeRun,
    CodeRunResult,
    HttpReply,
    HttpSend,
    SearchHit,
    SearchRequest,
    SearchResult,
    Verdict,
)
from crewmesh_contracts.invocations.base import Invocation
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import Conflict
from crewmesh_kit.ids import new_id
from crewmesh_testkit.fake_sidecar import Call, FakeSidecar
from crewmesh_testkit.identities import identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import TypeAdapter

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)

CREW = f"crew:{'crew_' + 'c' * 32}"
_GRANTS: TypeAdapter[Sequence[ToolGrant]] = TypeAdapter(Sequence[ToolGrant])


def agent(*tools: JsonObject, name: str = "worker", tags: Sequence[str] = (), **guardrails: object) -> AgentDefinition:
    return AgentDefinition(
        name=name,
        role="Worker",
        goal="Does what it is asked.",
        tools=tuple(_GRANTS.validate_python(tools)),
        tags=tuple(tags),
        guardrails=Guardrails.model_validate(guardrails),
    )


WEB: JsonObject = {"kind": "http", "name": "web", "url": "https://example.com/site", "methods": ["GET"]}
POST: JsonObject = {"kind": "http", "name": "post", "url": "https://example.com/in", "methods": ["POST", "GET"]}
HANDBOOK: JsonObject = {"kind": "knowledge", "name": "handbook", "knowledge_base": "handbook"}
CODE: JsonObject = {"kind": "code", "name": "python"}
MAIL: JsonObject = {
    "kind": "action",
    "name": "mail",
    "connection": "webhook",
    "action": "webhook.send",
    "parameters": {
        "type": "object",
        "properties": {"body": {"type": "string", "maxLength": 100}},
        "required": ["body"],
        "additionalProperties": False,
    },
    "inputs": {"url": "https://example.com/hook"},
}
MCP: JsonObject = {"kind": "mcp", "name": "tickets", "server": "desk", "tool": "create_ticket"}


@dataclass
class ToolDesk:
    """``verdicts``: what people said, by question. ``recorded``: what the record was told; ``fenced``: it refuses."""

    database: Database
    sidecar: FakeSidecar
    tools: Tools
    policies: Policies
    organization: str
    crew_run: str
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    recorded: list[ToolUse] = field(default_factory=list[ToolUse])
    page: str = "A page about gardening."
    passage: str = "Our margin is 41 percent."
    fenced: bool = False

    async def open(
        self,
        who: AgentDefinition,
        *,
        turn: str = "task/worker/1",
        tags: Sequence[str] = (),
        untrusted: bool = False,
        crew_run: str | None = None,
    ) -> GuardedToolbox:
        run = crew_run or self.crew_run
        work = WorkContext(
            identity=acting_as(self.organization, run, CREW),
            crew_run=run,
            place=f"{run}/{turn}",
            verdict=self.verdicts.get,
            record=self._record,
            tags=frozenset(tags),
            untrusted=untrusted,
        )
        return await self.tools.open(who, work)

    async def another_run(self) -> str:
        return await add_run(self.database, self.organization)

    async def policy(self, **definition: object) -> None:
        given = PolicyDefinition.model_validate({"name": f"p-{new_id('x')[-8:]}", **definition})
        who = identity("policies:write", organization=self.organization)
        await self.policies.create(who, None, given)

    def approve(self, question: Question, arguments: JsonObject | None = None) -> None:
        self.verdicts[question.id] = Verdict(question=question.id, approved=True, arguments=arguments, by="usr_1")

    def reject(self, question: Question) -> None:
        self.verdicts[question.id] = Verdict(question=question.id, approved=False, by="usr_1")

    def asked(self, invocation: Invocation[RequestT, ResultT]) -> list[RequestT]:
        """The requests of that kind that arrived at the other service."""
        return [invocation.request.model_validate(call.request.model_dump()) for call in self.calls(invocation)]

    def calls(self, invocation: Invocation[RequestT, ResultT]) -> list[Call]:
        return [call for call in self.sidecar.calls if (call.app, call.path) == (invocation.app, invocation.path)]

    async def _record(self, _: AsyncConnection[DictRow], use: ToolUse) -> None:
        if self.fenced:
            raise Conflict("Somebody else drives this run by now.")
        self.recorded.append(use)

    def answers(self) -> None:
        self.sidecar.answer(SEND_HTTP, self._http)
        self.sidecar.answer(SEARCH, self._search)
        self.sidecar.answer(RUN_CODE, self._code)
        self.sidecar.answer(RUN_ACTION, self._action)

    async def _http(self, request: HttpSend) -> HttpReply:
        body: JsonValue = self.page if request.method == "GET" else {"taken": True}
        return HttpReply(status=200, headers={"content-type": "text/plain"}, body=body)

    async def _search(self, _: SearchRequest) -> SearchResult:
        hit = SearchHit(document="doc_1", title="Finance", position=0, text=self.passage, score=0.9)
        return SearchResult(hits=(hit,))

    async def _code(self, request: CodeRun) -> CodeRunResult:
        return CodeRunResult(result=len(request.source), printed="")

    async def _action(self, _: ActionRequest) -> ActionResult:
        return ActionResult(result={"sent": True})


async def question_of(box: GuardedToolbox, name: str, arguments: JsonObject, *, key: str = "t1") -> Question:
    """What people have to decide before this use."""
    try:
        given = await box.use(name, arguments, key=key)
    except NeedsDecisionError as needed:
        return needed.question
    raise AssertionError(f"nobody was asked, and the tool gave: {given}")


async def add_run(database: Database, organization: str) -> str:
    """As little of a crew run as can be referred to."""
    run = new_id("crun")
    async with database.tenant(organization) as connection:
        await connection.execute(
            "INSERT INTO crew_runs (id, org_id, kind, name, version, key, fingerprint, work, charge, requested_by,"
            " started_by, status)"
            " VALUES (%(id)s, %(org)s, 'crew', 'test', 1, %(id)s, '', '{}', '{}', '', '', 'working')",
            {"id": run, "org": organization},
        )
    return run


@asynccontextmanager
async def tool_desk(database_url: str) -> AsyncGenerator[ToolDesk]:
    await migrate(database_url, app_id="agent-crew", migrations=MIGRATIONS)
    async with Database.open(database_url, app_id="agent-crew", pool_max=4) as database:
        organization, sidecar = new_id("org"), FakeSidecar("agent-crew")
        policies = Policies(database, Idempotency(database))
        means = Means(
            database=database,
            sidecar=sidecar,
            why_not=JsonSchemas().why_not,
            most_characters=8_000,
        )
        run = await add_run(database, organization)
        desk = ToolDesk(database, sidecar, Tools(means, policies), policies, organization, run)
        desk.answers()
        yield desk
