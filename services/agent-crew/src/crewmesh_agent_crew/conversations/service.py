"""One's own conversations: begun, listed, changed, deleted; their messages and files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from crewmesh_contracts.base import Contract
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.conversations.errors import (
    AnswerUnderWay,
    AttachmentNotFound,
    ChatMessageNotFound,
    ConversationFull,
    ConversationNotFound,
)
from crewmesh_agent_crew.conversations.files import checked
from crewmesh_agent_crew.conversations.models import File, Spoken, Talk
from crewmesh_agent_crew.conversations.repository import ConversationRepository, Wanted, described
from crewmesh_agent_crew.conversations.schemas import (
    Attachment,
    ChatMessage,
    Conversation,
    ConversationChange,
    ConversationRequest,
)
from crewmesh_agent_crew.conversations.settling import Settling, channel_of
from crewmesh_agent_crew.conversations.tree import FileRepository, MessageRepository
from crewmesh_agent_crew.conversations.views import attachment_of, conversation_of, message_of
from crewmesh_agent_crew.conversations.works import Works
from crewmesh_agent_crew.crew_runs.errors import CrewRunNotFound
from crewmesh_agent_crew.crew_runs.models import ENDED, Standing
from crewmesh_agent_crew.crew_runs.service import CrewRuns

_MOST_FILES, _MOST_FILE_BYTES = 100, 50_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Uploaded(Contract):
    """What tells two uploads apart."""

    name: str
    media_type: str
    sha256: str


class Conversations:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        works: Works,
        runs: CrewRuns,
        settling: Settling,
        signals: Signals,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._works = works
        self._runs = runs
        self._settling = settling
        self._signals = signals

    async def create(self, identity: Identity, key: str | None, request: ConversationRequest) -> Conversation:
        async def add() -> Conversation:
            talk = await ConversationRepository(connection).add(
                identity.organization,
                identity.subject,
                agent=request.agent,
                crew=request.crew,
                title=request.title,
                settings=request.settings,
            )
            await self._works.pinned(connection, identity, talk)  # there is such a partner, and one may talk with it
            await audit.record(connection, identity, "conversation.created", talk.id, after=described(talk))
            return conversation_of(talk, None)

        async with self._database.tenant(identity.organization) as connection:
            return await self._idempotency.once_in(
                connection,
                identity=identity,
                scope=f"create-conversation/{identity.subject}",
                key=key,
                request=request,
                work=add,
            )

    async def page(
        self, identity: Identity, wanted: PageRequest, *, archived: bool | None, partner: str | None, search: str | None
    ) -> Page[Conversation]:
        after = wanted.after(int, str)
        which = Wanted(
            owner=identity.subject,
            limit=wanted.limit + 1,
            archived=archived,
            partner=partner,
            search=search,
            after=None if after is None else (_moment(int(after[0])), str(after[1])),
        )
        async with self._database.tenant(identity.organization) as connection:
            found = await ConversationRepository(connection).page(which)
        return wanted.page(
            [conversation_of(talk, answering) for talk, answering in found],
            lambda talk: ((talk.active_at - _EPOCH) // _MICROSECOND, talk.id),
        )

    async def get(self, identity: Identity, id_: str) -> Conversation:
        async with self._database.tenant(identity.organization) as connection:
            talk = await found(connection, identity, id_)
            return await _with_answer(connection, talk)

    async def change(
        self, identity: Identity, id_: str, request: ConversationChange, *, if_match: str | None
    ) -> Conversation:
        async with self._database.tenant(identity.organization) as connection:
            repository = ConversationRepository(connection)
            before = await found(connection, identity, id_, hold=True)
            require_match(if_match, before.version)
            head = None if request.branch is None else await _end_of(connection, before, request.branch)
            after = await repository.change(
                id_, title=request.title, archived=request.archived, settings=request.settings, head=head
            )
            await repository.happened(identity.organization, id_, "changed")
            told = (described(before), {**described(after), "branch": request.branch})
            await audit.record(connection, identity, "conversation.updated", id_, before=told[0], after=told[1])
            changed = await _with_answer(connection, after)
        self._signals.tell(channel_of(id_))
        return changed

    async def delete(self, identity: Identity, id_: str, *, if_match: str | None) -> None:
        """With all that was said in it, and with the runs that answered."""
        async with self._database.tenant(identity.organization) as connection:
            talk = await found(connection, identity, id_, hold=True)
            check_match(if_match, talk.version)
            await self._runs.forget_chat_in(connection, id_)
            await ConversationRepository(connection).delete(id_)
            await audit.record(connection, identity, "conversation.deleted", id_, before=described(talk))
        self._signals.tell(channel_of(id_))

    async def messages(
        self, identity: Identity, id_: str, wanted: PageRequest, *, newest_first: bool
    ) -> Page[ChatMessage]:
        """Of the branch that is shown."""
        after = wanted.after(int, str)
        async with self._database.tenant(identity.organization) as connection:
            talk = await found(connection, identity, id_)
            said = await MessageRepository(connection).page(
                id_,
                str(after[1]) if after else talk.head,
                depth=min(int(after[0]), 2**31) if after else None,
                limit=wanted.limit + 1,
                newest_first=newest_first,
            )
            head = str(after[1]) if after else talk.head
        depths = {message.id: message.depth for message in said}
        return wanted.page(await self.shown(identity, id_, said), lambda message: (depths[message.id], head))

    async def message(self, identity: Identity, id_: str, message: str) -> ChatMessage:
        async with self._database.tenant(identity.organization) as connection:
            await found(connection, identity, id_)
            spoken = await MessageRepository(connection).get(id_, message)
        if spoken is None:
            raise ChatMessageNotFound(message)
        return (await self.shown(identity, id_, [spoken]))[0]

    async def shown(self, identity: Identity, id_: str, said: Sequence[Spoken]) -> list[ChatMessage]:
        """As they are by now: an answer that has ended meanwhile is written down first."""
        standings = {
            message.id: standing
            for message in said
            if message.status == "working" and (standing := await self._standing(identity, message)) is not None
        }
        async with self._database.tenant(identity.organization) as connection:
            again = await MessageRepository(connection).several(id_, list(standings))
            said = [again.get(message.id, message) for message in said]
            files = await FileRepository(connection).several(id_, [id_ for each in said for id_ in each.attachments])
        return [message_of(message, files, standings.get(message.id)) for message in said]

    async def wait(self, identity: Identity, id_: str, message: ChatMessage, seconds: float) -> ChatMessage:
        """The answer when it has ended, or asks somebody something, or when the time is over."""
        if message.crew_run is not None and message.status in ("working", "waiting"):
            await self._runs.wait(identity.organization, message.crew_run, seconds)
        return await self.message(identity, id_, message.id)

    async def attach(
        self, identity: Identity, key: str | None, id_: str, name: str, media_type: str, content: bytes
    ) -> Attachment:
        file = checked(name, media_type, content)
        upload = _Uploaded(name=file.name, media_type=file.media_type, sha256=hashlib.sha256(content).hexdigest())

        async def add() -> Attachment:
            await found(connection, identity, id_, hold=True)
            files = FileRepository(connection)
            count, size = await files.size(id_)
            if count >= _MOST_FILES or size + file.bytes > _MOST_FILE_BYTES:
                raise ConversationFull(
                    f"A conversation holds up to {_MOST_FILES} files and {_MOST_FILE_BYTES} bytes; begin another one."
                )
            await files.add(identity.organization, id_, file)
            told = {"attachment": file.id, "media_type": file.media_type, "bytes": file.bytes}
            await audit.record(connection, identity, "conversation.file-attached", id_, after={**told})
            return attachment_of(file)

        async with self._database.tenant(identity.organization) as connection:
            return await self._idempotency.once_in(
                connection, identity=identity, scope=f"attach/{id_}", key=key, request=upload, work=add
            )

    async def attachment(self, identity: Identity, id_: str, attachment: str) -> File:
        async with self._database.tenant(identity.organization) as connection:
            await found(connection, identity, id_)
            files = await FileRepository(connection).several(id_, [attachment], content=True)
        if attachment not in files:
            raise AttachmentNotFound(attachment)
        return files[attachment]

    async def _standing(self, identity: Identity, message: Spoken) -> Standing | None:
        if message.crew_run is None:
            return None
        try:
            standing = await self._runs.standing(identity.organization, message.crew_run)
        except CrewRunNotFound:
            standing = None
        if standing is None or standing.status in ENDED:
            await self._settling.settle(message.crew_run)
        return standing


async def found(connection: AsyncConnection[DictRow], identity: Identity, id_: str, *, hold: bool = False) -> Talk:
    """One's own conversation; anybody else's is not there."""
    talk = await ConversationRepository(connection).find(id_, identity.subject, hold=hold)
    if talk is None:
        raise ConversationNotFound(id_)
    return talk


async def _with_answer(connection: AsyncConnection[DictRow], talk: Talk) -> Conversation:
    working = await MessageRepository(connection).working(talk.id)
    return conversation_of(talk, None if working is None else working.id)


async def _end_of(connection: AsyncConnection[DictRow], talk: Talk, message: str) -> str:
    messages = MessageRepository(connection)
    working = await messages.working(talk.id)
    if working is not None:
        raise AnswerUnderWay(working.id)
    end = await messages.end_of(talk.id, message)
    if end is None:
        raise ChatMessageNotFound(message)
    return end


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise InvalidRequest("The cursor is not one that this list gave out. Leave it away to start anew.") from None
