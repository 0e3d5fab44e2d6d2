"""Consensus: everybody answers, sees the others' answers and says which is best, until all say the same.

Whoever is not agreed with betters its answer in between. When the rounds are used up, the last vote decides.
"""

from __future__ import annotations

from dataclasses import replace

from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.processes.floor import Floor, with_record
from crewmesh_agent_crew.processes.votes import is_unanimous, vote, winner

_BETTER = "The others' answers are below, with yours. You do not agree yet. Better your answer; take over what is good."


async def agreed(floor: Floor) -> Said:
    turns = [floor.asked(agent) for agent in floor.agents]
    answers = await floor.give_at_once(turns)
    votes = await vote(floor, turns, answers)
    rounds = 1
    while not is_unanimous(votes) and rounds < floor.rounds:
        answers = await floor.give_at_once([_bettered(turn, answers) for turn in turns])
        votes = await vote(floor, turns, answers)
        rounds += 1
    best = winner(votes, [answer.agent for answer in answers])
    (result,) = (answer for answer in answers if answer.agent == best)
    return with_record(result, {"agreed": is_unanimous(votes), "winner": best, "votes": {**votes}, "rounds": rounds})


def _bettered(turn: Turn, answers: list[Said]) -> Turn:
    return replace(turn, instruction=f"{turn.instruction}\n\n{_BETTER}", shown=(*turn.shown, *answers))
