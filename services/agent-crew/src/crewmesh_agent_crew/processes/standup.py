"""Standup: everybody says what is done, what is next and what blocks; the lead sums it up, blockers first."""

from __future__ import annotations

from dataclasses import replace

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.crew_runs.stage import Said
from crewmesh_agent_crew.processes.floor import Floor, judging, with_record

_REPORT = "Standup: say in your role what is done, what you do next, and what blocks you. Empty if there is nothing."
_SUM_UP = "Below is what everybody said at the standup. Sum it up in a few lines: blockers first, with whose they are."
_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {part: {"type": "string"} for part in ("done", "next", "blocked")},
    "required": ["done", "next", "blocked"],
    "additionalProperties": False,
}


async def stood_up(floor: Floor) -> Said:
    lead = floor.manager
    instruction = f"{floor.instruction}\n\n{_REPORT}"
    reports = await floor.give_at_once(
        [replace(judging(floor.asked(agent), instruction, (), _SCHEMA), to=lead.name) for agent in floor.agents]
    )
    asked = floor.asked(lead)
    summing = replace(asked, instruction=f"{asked.instruction}\n\n{_SUM_UP}", shown=(*asked.shown, *reports))
    return with_record(await floor.give(summing), {"reports": {said.agent: said.data or said.text for said in reports}})
