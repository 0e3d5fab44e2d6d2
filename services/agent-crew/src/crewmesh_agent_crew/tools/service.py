"""Opens the toolbox of a turn: what the agent is granted, what policies say, what its run has seen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import LIST_MCP_TOOLS, McpListing, McpTool
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.storable import clean_text
from crewmesh_kit.errors import Problem
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.guardrails.guard import Guard
from crewmesh_agent_crew.guardrails.policies.service import Policies
from crewmesh_agent_crew.guardrails.rules import Rules, rules_for
from crewmesh_agent_crew.guardrails.settings import Pii
from crewmesh_agent_crew.guardrails.taint import Taint
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.routing.candidates import Forbids
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.tools.errors import ToolsUnavailable
from crewmesh_agent_crew.tools.grants import McpGrant
from crewmesh_agent_crew.tools.guarded import GuardedToolbox, Means, Ruling
from crewmesh_agent_crew.tools.kinds.base import Caller
from crewmesh_agent_crew.tools.repository import Kept, ToolUseRepository
from crewmesh_agent_crew.tools.tool import AnyTool, reads_strangers, tool_of
from crewmesh_agent_crew.tools.work import ToolUse, WorkContext, key_of

_LISTING_SECONDS = 20.0
_NOT_LISTED = McpTool(name="")


class Tools:
    def __init__(self, means: Means, policies: Policies) -> None:
        self._means = means
        self._policies = policies
        # By run: what turns of a run that are under way in this process have seen, they have seen together.
        self._taints: WeakValueDictionary[tuple[str, str], Taint] = WeakValueDictionary()

    async def open(self, agent: AgentDefinition, work: WorkContext) -> GuardedToolbox:
        async def now(connection: AsyncConnection[DictRow]) -> Rules:
            return rules_for(agent, work.tags, await self._policies.all_in(connection))

        async with self._means.database.tenant(work.organization) as connection:
            present = await now(connection)
            pinned = await self._policies.pinned_in(
                connection, work.organization, work.crew_run, work.place, present.policies
            )
            known = await ToolUseRepository(connection).taint(work.organization, work.crew_run)
        rules = Rules(agent, tuple(pinned))
        taint = self._taints.setdefault((work.organization, work.crew_run), Taint())
        taint.add(untrusted=known.untrusted or work.untrusted, private=known.private)
        wary = work.wary or work.untrusted or reads_strangers(agent)
        guard = Guard(rules, taint, work.place, longest=self._means.most_characters, wary=wary)
        granted = await self._granted(rules, work)
        return GuardedToolbox(self._means, work, Ruling(rules, rules.and_(present), now), guard, known, granted)

    async def aside(
        self, organization: str, agents: Sequence[AgentDefinition], tags: Iterable[str]
    ) -> tuple[Pii, Forbids]:
        """What holds when a model is asked about their work beside their turns: what becomes of personal data, and
        which models one of them may not think with.
        """
        async with self._means.database.tenant(organization) as connection:
            policies = await self._policies.all_in(connection)
        several = [rules_for(agent, tags, policies) for agent in agents]

        def forbidden(*names: str) -> Problem | None:
            return next(filter(None, (rules.forbidden_model(*names) for rules in several)), None)

        return Rules.strictest_pii(several), forbidden

    async def _granted(self, rules: Rules, work: WorkContext) -> dict[str, AnyTool]:
        servers = sorted({grant.server for grant in rules.agent.tools if isinstance(grant, McpGrant)})
        listed = {server: await self._listed(server, rules.agent.name, work) for server in servers}
        granted: dict[str, AnyTool] = {}
        for grant in rules.agent.tools:
            of_server = _NOT_LISTED
            if isinstance(grant, McpGrant):
                found = listed[grant.server].get(grant.tool)
                if found is None:
                    continue
                of_server = found
            granted[grant.name] = tool_of(grant, of_server)
        return granted

    async def _listed(self, server: str, agent: str, work: WorkContext) -> dict[str, McpTool]:
        """What the server offered when the turn began: a turn that is played again shows the model the same tools."""
        key = key_of(work.place, "mcp", server, {})
        async with self._means.database.tenant(work.organization) as connection:
            kept = await ToolUseRepository(connection).find(work.organization, key)
        if kept is None:
            kept = await self._list(server, agent, key, work)
        tools = LIST_MCP_TOOLS.result.model_validate_json(kept.result).tools if kept.status == "done" else ()
        return {tool.name: tool for tool in tools}

    async def _list(self, server: str, agent: str, key: str, work: WorkContext) -> Kept:
        """A server that is not there for good costs the agent its tools, one that is away for a while its time."""
        arguments: JsonObject = {"server": server}
        caller = Caller(self._means.sidecar, work.identity)
        try:
            found = await caller.call(LIST_MCP_TOOLS, McpListing(server=server), key=None, seconds=_LISTING_SECONDS)
            kept = Kept("done", found.model_dump_json(), arguments)
        except Problem as problem:
            if problem.retryable:
                raise ToolsUnavailable(
                    f"What the MCP server {server!r} offers is not known: {problem.detail}"
                ) from problem
            kept = Kept("failed", clean_text(problem.detail), arguments)
        use = ToolUse(key, agent, f"mcp:{server}", arguments, kept.status, kept.result)
        async with self._means.database.tenant(work.organization) as connection:
            uses = ToolUseRepository(connection)
            if await uses.add(work.organization, work.crew_run, use, kept.result, None) and kept.status == "failed":
                await work.record(connection, use)
            return await uses.find(work.organization, key) or kept


@asynccontextmanager
async def open_tools(resources: Resources) -> AsyncGenerator[Tools]:
    means = Means(
        database=resources.get(Database),
        sidecar=resources.get(Sidecar),
        why_not=resources.get(JsonSchemas).why_not,
        most_characters=resources.get(Settings).tools.most_characters,
    )
    yield Tools(means, resources.get(Policies))
