"""Who pays for a piece of work, as it is kept with it: out of a step's payer, or out of whoever asks directly."""

from __future__ import annotations

from crewmesh_contracts.base import Contract
from crewmesh_contracts.invocations import Payer
from crewmesh_kit.identity import Identity

from crewmesh_agent_crew.spending.charge import Charge


class ChargedTo(Contract):
    """The names under which the model calls of one piece of work are recorded, and held against budgets."""

    workflow: str | None = None
    run: str | None = None
    step: str | None = None
    conversation: str | None = None
    user: str | None = None
    api_key: str | None = None
    teams: tuple[str, ...] = ()

    @classmethod
    def of_payer(cls, payer: Payer) -> ChargedTo:
        """A step of a workflow, in the name of whoever started its run."""
        return cls(
            workflow=payer.workflow,
            run=payer.run,
            step=payer.step,
            teams=payer.teams,
            **_person_or_key(payer.started_by),
        )

    @classmethod
    def of(cls, identity: Identity, *, conversation: str | None = None) -> ChargedTo:
        """Somebody who asks for it directly: a person, or a key and the person behind it."""
        teams = tuple(sorted(group.removeprefix("team:") for group in identity.groups if group.startswith("team:")))
        named = {**_person_or_key(identity.acting_for), **_person_or_key(identity.subject)}
        return cls(conversation=conversation, teams=teams, **named)

    def charge(
        self, organization: str, crew_run: str | None = None, crew: str | None = None, agent: str | None = None
    ) -> Charge:
        return Charge(
            organization=organization,
            workflow=self.workflow,
            run=self.run,
            step=self.step,
            crew_run=crew_run,
            crew=crew,
            agent=agent,
            conversation=self.conversation,
            user=self.user,
            api_key=self.api_key,
            teams=frozenset(self.teams),
        )


def _person_or_key(subject: str | None) -> dict[str, str]:
    field_ = {"usr": "user", "key": "api_key"}.get((subject or "").partition("_")[0])
    return {} if field_ is None or subject is None else {field_: subject}
