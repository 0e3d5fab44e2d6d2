"""Votes: as data where the model can give it, read from its words where not, and counted the same way each time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.processes.floor import Floor, judging


async def vote(floor: Floor, voters: Sequence[Turn], answers: Sequence[Said]) -> dict[str, str | None]:
    """For whose answer everybody is; nobody's, where that cannot be told."""
    candidates = [answer.agent for answer in answers]
    instruction = f"Whose answer is best? Judge by the answers alone. Vote for one of: {', '.join(candidates)}."
    ballots = await floor.give_at_once(
        [judging(voter, f"{voter.instruction}\n\n{instruction}", answers, ballot(candidates)) for voter in voters]
    )
    return {said.agent: vote_in(said, candidates) for said in ballots}


def ballot(candidates: Sequence[str]) -> JsonObject:
    return {
        "type": "object",
        "properties": {"vote": {"type": "string", "enum": [*candidates]}},
        "required": ["vote"],
        "additionalProperties": False,
    }


def vote_in(said: Said, candidates: Sequence[str]) -> str | None:
    """In words it is for the candidate who is named, if that is one."""
    if isinstance(said.data, dict):
        choice = said.data.get("vote")
        return choice if isinstance(choice, str) and choice in candidates else None
    named = [name for name in candidates if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said.text, re.I)]
    return named[0] if len(named) == 1 else None


def winner(votes: Mapping[str, str | None], candidates: Sequence[str]) -> str:
    """Who has the most; of equals, who comes first in the crew."""
    counted = Counter(votes.values())
    return max(candidates, key=lambda name: (counted[name], -candidates.index(name)))


def is_unanimous(votes: Mapping[str, str | None]) -> bool:
    return None not in votes.values() and len(set(votes.values())) == 1
