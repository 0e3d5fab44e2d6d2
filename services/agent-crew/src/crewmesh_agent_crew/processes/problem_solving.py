"""Problem solving: one puts the problem to the others, they answer, all vote, and the winner betters its answer."""

from __future__ import annotations

from dataclasses import replace

from crewmesh_agent_crew.crew_runs.stage import Said
from crewmesh_agent_crew.processes.floor import Floor, told, with_record
from crewmesh_agent_crew.processes.votes import vote, winner

_ASK = "Put this problem to your colleagues: one precise question that holds all they need to know. Do not answer it."
_REFINE = "Your answer was voted the best. Better it with what is good in the others' answers, and give it in full."


async def solved(floor: Floor) -> Said:
    asker = floor.lead
    asking = floor.asked(asker)
    question = await floor.give(told(asking, f"{asking.instruction}\n\n{_ASK}"))
    solvers = [replace(floor.asked(agent), to=asker.name) for agent in floor.others(asker)]
    answers = await floor.give_at_once([told(turn, turn.instruction, shown=[question]) for turn in solvers])
    votes = await vote(floor, [asking, *solvers], answers)
    best = winner(votes, [answer.agent for answer in answers])
    (winning,) = (turn for turn in solvers if turn.agent.name == best)
    refined = replace(
        winning, instruction=f"{winning.instruction}\n\n{_REFINE}", shown=(*winning.shown, question, *answers)
    )
    result = await floor.give(refined)
    return with_record(result, {"question": question.text, "winner": best, "votes": {**votes}})
