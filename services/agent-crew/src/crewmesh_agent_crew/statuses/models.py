"""What one run's agents are doing, as it is shared between replicas."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.events import AgentActivity

_BUSIEST_FIRST: tuple[AgentActivity, ...] = ("calling_tool", "thinking", "waiting")


def busiest(activities: Iterable[AgentActivity]) -> AgentActivity:
    """What an agent is said to do that does all of them."""
    found = set(activities)
    for activity in _BUSIEST_FIRST:
        if activity in found:
            return activity
    return "idle"


class Doing(Contract):
    status: AgentActivity
    since: datetime


class AtWork(Contract):
    """The agents of one crew run. ``about``: whose run it is, ``crew:…`` or ``agent:…``; who may not see that, may not
    see it. ``until``: when it is over unless somebody says it again."""

    crew_run: str
    about: str | None
    until: datetime
    agents: dict[str, Doing]


class Occupation(Reply):
    """What an agent does in one crew run."""

    crew_run: str
    status: AgentActivity
    since: datetime


class AgentStatus(Reply):
    """One agent. ``status`` is the busiest of what it does in ``at_work_on``; idle, when there is nothing."""

    agent: str
    status: AgentActivity
    at_work_on: tuple[Occupation, ...] = ()
