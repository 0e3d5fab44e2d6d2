"""Code review: an author, reviewers, and rounds until all of them approve or the rounds are used up."""

from __future__ import annotations

import re
from dataclasses import replace

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.processes.floor import Floor, judging, with_record

_REVIEW = "Review this work of {author}. Say approve if it can be used as it is, or changes and what has to be changed."
_REWORK = "Your work was reviewed. Below are your last version and the reviews. Give a new version, in full."
_NO = re.compile(r"\b(changes?|not|cannot|can't|don't|reject\w*|fix)\b", re.I)
_VERDICT: JsonObject = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["approve", "changes"]}, "comments": {"type": "string"}},
    "required": ["verdict", "comments"],
    "additionalProperties": False,
}


async def reviewed(floor: Floor) -> Said:
    author = floor.lead
    writing = floor.asked(author)
    work = await floor.give(writing)
    reviews = await _reviews(floor, work)
    rounds = 1
    while not all(_approves(review) for review in reviews) and rounds < floor.rounds:
        work = await floor.give(_reworked(writing, work, reviews))
        reviews = await _reviews(floor, work)
        rounds += 1
    verdicts: JsonObject = {review.agent: "approve" if _approves(review) else "changes" for review in reviews}
    approved = all(verdict == "approve" for verdict in verdicts.values())
    return with_record(work, {"approved": approved, "verdicts": verdicts, "rounds": rounds})


async def _reviews(floor: Floor, work: Said) -> list[Said]:
    instruction = f"{floor.instruction}\n\n{_REVIEW.format(author=work.agent)}"
    return await floor.give_at_once(
        [
            replace(judging(floor.asked(reviewer), instruction, [work], _VERDICT), to=work.agent)
            for reviewer in floor.others(floor.lead)
        ]
    )


def _reworked(writing: Turn, work: Said, reviews: list[Said]) -> Turn:
    wanted = [review for review in reviews if not _approves(review)]
    return replace(writing, instruction=f"{writing.instruction}\n\n{_REWORK}", shown=(*writing.shown, work, *wanted))


def _approves(review: Said) -> bool:
    """In words only what is clear is an approval."""
    if isinstance(review.data, dict):
        return review.data.get("verdict") == "approve"
    return bool(re.search(r"\bapproved?\b", review.text, re.I)) and not _NO.search(review.text)
