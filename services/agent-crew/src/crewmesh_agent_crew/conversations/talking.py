"""Sending a message, having an answer given again, breaking one off, deciding what it asks.

A message and the run that answers it are written in one transaction: what was acknowledged is answered, whoever dies.
"""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database, after_commit
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.conversations.errors import (
    AnswerUnderWay,
    ChatMessageNotFound,
    ConversationFull,
    ConversationNotFound,
    NoSuchContinuation,
    NothingToCancel,
    UnknownAttachment,
)
from crewmesh_agent_crew.conversations.models import NOTHING, ChatSettings, File, Spoken, Talk
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.schemas import ChatDecision, Exchange, MessageRequest, RegenerateRequest
from crewmesh_agent_crew.conversations.settling import channel_of
from crewmesh_agent_crew.conversations.tree import FileRepository, MessageRepository, new_message_id
from crewmesh_agent_crew.conversations.views import message_of
from crewmesh_agent_crew.conversations.works import Partner, Works
from crewmesh_agent_crew.crew_runs.schemas import Decision
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crew_runs.views import CrewRunViews

_MOST_MESSAGES = 5_000


class Talking:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        works: Works,
        runs: CrewRuns,
        decisions: CrewRunViews,
        signals: Signals,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._works = works
        self._runs = runs
        self._decisions = decisions
        self._signals = signals

    async def send(self, identity: Identity, key: str | None, conversation: str, request: MessageRequest) -> Exchange:
        partner = await self._partner(identity, conversation, None)

        async def send() -> Exchange:
            talk = await self._held(connection, identity, conversation)
            parent = await self._continued(connection, talk, request)
            files = await self._files(connection, talk, request.attachments)
            messages, conversations = MessageRepository(connection), ConversationRepository(connection)
            id_ = new_message_id()
            added = await conversations.happened(talk.organization, talk.id, "message", id_)
            question = await messages.add(
                talk,
                id_=id_,
                role="user",
                parent=parent,
                added=added,
                text=request.text,
                attachments=request.attachments,
            )
            answer = await self._answer(connection, identity, talk, question, partner, talk.settings)
            await audit.record(connection, identity, "conversation.continued", talk.id, after={"message": id_})
            return _exchange(question, answer, files, behind=question.added - 1)

        async with self._database.tenant(identity.organization) as connection:
            return await self._idempotency.once_in(
                connection,
                identity=identity,
                scope=f"say/{identity.subject}/{conversation}",
                key=key,
                request=request,
                work=send,
            )

    async def regenerate(
        self, identity: Identity, key: str | None, conversation: str, message: str, request: RegenerateRequest
    ) -> Exchange:
        """Another answer beside this one, or another one to this message of a person."""
        partner = await self._partner(identity, conversation, request.settings)

        async def regenerate() -> Exchange:
            talk = await self._held(connection, identity, conversation)
            messages = MessageRepository(connection)
            named = await messages.get(talk.id, message)
            question = await messages.get(talk.id, named.parent) if named and named.role == "assistant" else named
            if question is None:
                raise ChatMessageNotFound(message)
            settings = request.settings or talk.settings
            answer = await self._answer(connection, identity, talk, question, partner, settings)
            told = {"message": question.id, "answer": answer.id}
            await audit.record(connection, identity, "conversation.answered-again", talk.id, after={**told})
            files = await FileRepository(connection).several(talk.id, question.attachments)
            return _exchange(question, answer, files, behind=answer.added - 1)

        async with self._database.tenant(identity.organization) as connection:
            return await self._idempotency.once_in(
                connection,
                identity=identity,
                scope=f"regenerate/{identity.subject}/{message}",
                key=key,
                request=request,
                work=regenerate,
            )

    async def cancel(self, identity: Identity, conversation: str) -> Spoken:
        """Break off the answer that is under way. It ends a moment later, with what was said of it."""
        async with self._database.tenant(identity.organization) as connection:
            talk = await self._held(connection, identity, conversation, idle=False)
            working = await MessageRepository(connection).working(talk.id)
            if working is None or working.crew_run is None:
                raise NothingToCancel("No answer is under way in this conversation; it has ended, or was cancelled.")
            await self._runs.cancel_in(connection, working.crew_run)
            told = {"answer": working.id}
            await audit.record(connection, identity, "conversation.answer-cancelled", talk.id, after={**told})
        return working

    async def decide(
        self, identity: Identity, key: str | None, conversation: str, message: str, decision: ChatDecision
    ) -> None:
        """Let the answer go on that asks: once decided it stays so."""
        async with self._database.tenant(identity.organization) as connection:
            if await ConversationRepository(connection).find(conversation, identity.subject) is None:
                raise ConversationNotFound(conversation)
            answer = await MessageRepository(connection).get(conversation, message)
        if answer is None or answer.crew_run is None:
            raise ChatMessageNotFound(message)
        given = Decision(approved=decision.approved, arguments=decision.arguments)
        await self._decisions.decide(identity, answer.crew_run, decision.question, given, key=key)
        self._signals.tell(channel_of(conversation))

    async def _partner(self, identity: Identity, conversation: str, settings: ChatSettings | None) -> Partner:
        """Looked up before anything is held: it may take a while."""
        async with self._database.tenant(identity.organization) as connection:
            talk = await ConversationRepository(connection).find(conversation, identity.subject)
            if talk is None:
                raise ConversationNotFound(conversation)
            pinned = await self._works.pinned(connection, identity, talk)
        budgets = await self._works.budgets(identity.organization, pinned, settings or talk.settings)
        return Partner(pinned, budgets)

    async def _held(
        self, connection: AsyncConnection[DictRow], identity: Identity, conversation: str, *, idle: bool = True
    ) -> Talk:
        """The conversation, which nobody else changes meanwhile. Idle: no answer is under way in it."""
        talk = await ConversationRepository(connection).find(conversation, identity.subject, hold=True)
        if talk is None:
            raise ConversationNotFound(conversation)
        working = await MessageRepository(connection).working(talk.id) if idle else None
        if working is not None:
            raise AnswerUnderWay(working.id)
        return talk

    async def _continued(
        self, connection: AsyncConnection[DictRow], talk: Talk, request: MessageRequest
    ) -> Spoken | None:
        messages = MessageRepository(connection)
        if await messages.count(talk.id) + 2 > _MOST_MESSAGES:
            raise ConversationFull(f"A conversation holds up to {_MOST_MESSAGES} messages; begin another one.")
        id_ = (request.parent or NOTHING) if "parent" in request.model_fields_set else talk.head
        if id_ == NOTHING:
            return None
        parent = await messages.get(talk.id, id_)
        if parent is None:
            raise ChatMessageNotFound(id_)
        if parent.role != "assistant":
            raise NoSuchContinuation("A message continues an answer: name one as parent, or null to begin anew.")
        return parent

    async def _files(self, connection: AsyncConnection[DictRow], talk: Talk, ids: Sequence[str]) -> dict[str, File]:
        found = await FileRepository(connection).several(talk.id, ids)
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            raise UnknownAttachment(
                f"{', '.join(missing)} is not attached to this conversation; attach it first.",
                errors=[{"path": "body.attachments", "message": "is not attached to this conversation"}],
            )
        return found

    async def _answer(
        self,
        connection: AsyncConnection[DictRow],
        identity: Identity,
        talk: Talk,
        question: Spoken,
        partner: Partner,
        settings: ChatSettings,
    ) -> Spoken:
        """Begin the run that answers ``question``, and show its branch from now on."""
        id_ = new_message_id()
        work = await self._works.work(connection, identity, talk, question, partner, settings, key=id_)
        crew_run = await self._runs.start_in(connection, identity, work)
        conversations = ConversationRepository(connection)
        added = await conversations.happened(talk.organization, talk.id, "message", id_)
        answer = await MessageRepository(connection).add(
            talk, id_=id_, role="assistant", parent=question, added=added, crew_run=crew_run
        )
        await conversations.go_on(talk.id, id_)
        after_commit(connection, lambda: self._signals.tell(channel_of(talk.id)))
        return answer


def _exchange(question: Spoken, answer: Spoken, files: dict[str, File], *, behind: int) -> Exchange:
    return Exchange(message=message_of(question, files), answer=message_of(answer, {}), follow_from=str(behind))
