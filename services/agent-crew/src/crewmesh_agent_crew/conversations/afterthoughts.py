"""What is done when an answer was given, for later: a title, and a summary of what no longer fits what models read.

Both are asked of the cheapest model there is, in the name of the conversation. Neither is waited for; without a model
the title is how the first message begins, and the summary is made another time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.conversations.history import to_summarize, tokens_of
from crewmesh_agent_crew.conversations.models import Spoken
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.settling import channel_of
from crewmesh_agent_crew.conversations.tree import MessageRepository
from crewmesh_agent_crew.conversations.works import Works
from crewmesh_agent_crew.crew_runs.models import Standing, workers_of
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.guardrails.personal import Masks, personal_data
from crewmesh_agent_crew.guardrails.settings import Pii
from crewmesh_agent_crew.guardrails.texts import readable
from crewmesh_agent_crew.models.calls import Message, ModelCall
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.charged_to import ChargedTo
from crewmesh_agent_crew.tools.service import Tools

_MODEL = "fast"
_LONGEST_TITLE = 80
_READ_FOR_A_TITLE = 1_000
_TITLE_TOKENS, _SUMMARY_TOKENS = 24, 500
_TITLE = "Give this conversation a title of two to six words, in its language. Answer with the title alone."
_SUMMARY = (
    "Sum up what was said, in its language, for somebody who goes on with the conversation: what was asked, what was "
    "found and decided, names and numbers that matter, what is open. Plain sentences, no introduction."
)
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is wanted of which text, in how many tokens, once under the key."""

    instruction: str
    text: str
    tokens: int
    key: str


class Afterthoughts:
    def __init__(
        self, database: Database, thinking: Thinking, works: Works, signals: Signals, crew_runs: CrewRuns, tools: Tools
    ) -> None:
        self._database = database
        self._thinking = thinking
        self._works = works
        self._signals = signals
        self._crew_runs = crew_runs
        self._tools = tools

    async def after(self, organization: str, conversation: str, answer: str, standing: Standing) -> None:
        async with self._database.tenant(organization) as connection:
            said = await MessageRepository(connection).branch(conversation, answer)
            conversations = ConversationRepository(connection)
            untitled = await conversations.is_untitled(conversation)
            summaries = await conversations.summaries(conversation, [each.id for each in said])
        charge = ChargedTo.model_validate(standing.charge).charge(organization, standing.id)
        if untitled and said:
            await self._title(conversation, charge, said)
        budgets = await self._works.budgets_with(organization, standing.used.model or "default")
        if (due := to_summarize(said, summaries, budgets.history)) is not None:
            await self._summary(conversation, charge, *due)

    async def _title(self, conversation: str, charge: Charge, said: Sequence[Spoken]) -> None:
        text = "\n\n".join(f"{each.role}: {each.text[:_READ_FOR_A_TITLE]}" for each in said[:2])
        given = await self._asked(_Wish(_TITLE, text, _TITLE_TOKENS, f"{conversation}/title"), charge)
        title = _as_title(given or "") or _as_title(said[0].text)
        async with self._database.tenant(charge.organization) as connection:
            repository = ConversationRepository(connection)
            if not title or not await repository.give_title(conversation, title):
                return
            await repository.happened(charge.organization, conversation, "changed")
        self._signals.tell(channel_of(conversation))

    async def _summary(self, conversation: str, charge: Charge, before: str, said: Sequence[Spoken]) -> None:
        text = "\n\n".join(
            [*([f"Before: {before}"] if before else []), *(f"{each.role}: {each.text}" for each in said)]
        )
        upto = said[-1].id
        given = await self._asked(_Wish(_SUMMARY, text, _SUMMARY_TOKENS, f"{conversation}/summary/{upto}"), charge)
        if not given:
            return
        log.info("a conversation is summed up", tokens_before=tokens_of(text), tokens=tokens_of(given))
        async with self._database.tenant(charge.organization) as connection:
            await ConversationRepository(connection).add_summary(charge.organization, conversation, upto, given)

    async def _asked(self, wish: _Wish, charge: Charge) -> str | None:
        try:
            doing = await self._crew_runs.doing(charge.organization, charge.crew_run or "")
            # As the guardrails and policies of those who answered want it, for this is no turn of theirs.
            pii, forbids = await self._tools.aside(charge.organization, *workers_of(doing))
            text = _as_it_may_be_shown(wish.text, pii)
            if text is None:
                return None
            call = ModelCall(
                model=_MODEL,
                messages=(Message(role="system", content=wish.instruction), Message(role="user", content=text)),
                max_tokens=wish.tokens,
                temperature=0.0,
            )
            answer = await self._thinking.ask(call, charge, wish.key, forbids=forbids)
        except Problem as problem:
            log.info("an afterthought of a conversation is not had", reason=problem.detail)
            return None
        return answer.reply.text.replace("\0", "").strip()


def _as_it_may_be_shown(text: str, pii: Pii) -> str | None:
    """None: not at all."""
    if pii == "mask":
        return Masks().mask(readable(text))
    return None if pii == "refuse" and personal_data(readable(text)) else text


def _as_title(text: str) -> str:
    """One line without quotes around it, cut at a word."""
    line = next((line for line in (_INVISIBLE.sub(" ", each).strip() for each in text.splitlines()) if line), "")
    line = line.removeprefix("Title:").strip(" \"'“”«»*#.")
    if len(line) <= _LONGEST_TITLE:
        return line
    return line[:_LONGEST_TITLE].rsplit(" ", 1)[0] + "…"
