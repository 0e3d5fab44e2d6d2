"""What is begun for an answer: a crew run of kind chat, with the conversation as far as its model can read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.catalogue.service import Catalogue
from crewmesh_agent_crew.conversations.errors import CrewNotForChats, CrewTakesNoFiles
from crewmesh_agent_crew.conversations.history import Budgets, documents, history, images
from crewmesh_agent_crew.conversations.models import ChatSettings, File, Spoken, Talk
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.tree import FileRepository, MessageRepository
from crewmesh_agent_crew.crew_runs.asking import checked_inputs
from crewmesh_agent_crew.crew_runs.models import AgentWork, CrewWork, Work
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.resolving import PinnedAgent, PinnedCrew, Resolver
from crewmesh_agent_crew.models.calls import Message
from crewmesh_agent_crew.spending.charged_to import ChargedTo

# Inputs of a crew that a conversation fills in beside the message, where a crew has them.
_HISTORY = ("history", "context")
_DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True)
class Partner:
    """Who answers, as it is now, and how much it can be shown."""

    pinned: PinnedAgent | PinnedCrew
    budgets: Budgets


class Works:
    def __init__(self, resolver: Resolver, catalogue: Catalogue) -> None:
        self._resolver = resolver
        self._catalogue = catalogue

    async def pinned(
        self, connection: AsyncConnection[DictRow], identity: Identity, talk: Talk
    ) -> PinnedAgent | PinnedCrew:
        """Whoever answers, if ``identity`` may set it to work."""
        if talk.crew is not None:
            crew = await self._resolver.pinned(connection, identity, talk.crew)
            _message_input(crew.definition)
            return crew
        return await self._resolver.agent(connection, identity, talk.agent or "")

    async def budgets(self, organization: str, pinned: PinnedAgent | PinnedCrew, settings: ChatSettings) -> Budgets:
        """Outside of transactions: the catalogue may have to read."""
        model = settings.model or (pinned.definition.model if isinstance(pinned, PinnedAgent) else "default")
        return await self.budgets_with(organization, model)

    async def budgets_with(self, organization: str, model: str) -> Budgets:
        try:
            chain = await self._catalogue.chain(organization, model)
        except Problem:
            return Budgets.of(None)  # the answer itself tells what is wrong with the model
        return Budgets.of(chain[0].context_tokens if chain else None)

    async def work(
        self,
        connection: AsyncConnection[DictRow],
        identity: Identity,
        talk: Talk,
        question: Spoken,
        partner: Partner,
        settings: ChatSettings,
        *,
        key: str,
    ) -> Work:
        said = await MessageRepository(connection).branch(talk.id, question.id)
        files = await _files(connection, talk, said)
        before = [message for message in said if message.id != question.id]
        summaries = await ConversationRepository(connection).summaries(talk.id, [message.id for message in before])
        earlier = history(before, summaries, partner.budgets.history)
        if isinstance(pinned := partner.pinned, PinnedAgent):
            agent = with_settings(pinned.definition, settings)
            doing = AgentWork(
                agent=agent,
                task=question.text,
                history=earlier,
                documents=documents(files, partner.budgets.files),
                images=images(files),
            )
            tools = bool(agent.tools)
            crew_id, agent_id = pinned.crew, pinned.id
        else:
            doing = CrewWork(
                crew=pinned.definition,
                inputs=_inputs(pinned.definition, question, earlier, files),
                quoted=(_DOCUMENTS,) if files else (),
            )
            tools = any(isinstance(each, AgentDefinition) and each.tools for each in pinned.definition.agents)
            crew_id, agent_id = pinned.id, None
        return Work(
            kind="chat",
            name=talk.crew or talk.agent or "",
            version=pinned.version,
            doing=doing,
            charge=ChargedTo.of(identity, conversation=talk.id),
            key=key,
            same="",
            requested_by=identity.subject,
            started_by=identity.subject,
            crew_id=crew_id,
            agent_id=agent_id,
            # What tools gave in earlier answers may speak from what was said of it.
            untrusted=bool(files) or (tools and bool(earlier)),
        )


async def _files(connection: AsyncConnection[DictRow], talk: Talk, said: Sequence[Spoken]) -> list[File]:
    """What is attached to what was said, as often as it is."""
    named = [file for message in said for file in message.attachments]
    found = await FileRepository(connection).several(talk.id, named, content=True)
    return [found[file] for file in named if file in found]


def with_settings(agent: AgentDefinition, settings: ChatSettings) -> AgentDefinition:
    changes: dict[str, object] = {}
    if settings.model is not None:
        changes["model"] = settings.model
    if settings.temperature is not None:
        changes["temperature"] = settings.temperature
    return agent.model_copy(update=changes)


def _message_input(crew: CrewDefinition) -> str:
    """The input that a message fills in: the one that is required, or else the first."""
    required = [input_.name for input_ in crew.inputs if input_.required]
    if len(required) > 1 or not crew.inputs:
        raise CrewNotForChats(
            f"The crew {crew.name!r} cannot be talked with: of its inputs exactly one may be required, which a message "
            f"fills in. It has: {', '.join(input_.name for input_ in crew.inputs) or 'none'}."
        )
    return required[0] if required else crew.inputs[0].name


def _inputs(
    crew: CrewDefinition, question: Spoken, earlier: Sequence[Message], files: Sequence[File]
) -> dict[str, str]:
    """Values for the crew's inputs: the message, what was said before, and texts that were attached."""
    sizes = {input_.name: input_.most_characters for input_ in crew.inputs}
    asked = _message_input(crew)
    inputs = {asked: question.text}
    place = next((name for name in _HISTORY if name in sizes and name != asked), None)
    if place is not None and earlier:
        told = "\n\n".join(f"{message.role}: {message.content}" for message in earlier)
        inputs[place] = told[-sizes[place] :]
    if files:
        if _DOCUMENTS not in sizes or any(file.is_image for file in files):
            raise CrewTakesNoFiles(
                f"The crew {crew.name!r} cannot read what is attached: it takes texts in an input named documents, and "
                "no images. Add that input, or talk with an agent."
            )
        inputs[_DOCUMENTS] = "\n\n".join(f"{file.name}:\n{file.content.decode('utf-8-sig')}" for file in files)
    return checked_inputs(crew, inputs)
