"""How one advance ends, as it travels through Dapr from the activity to the orchestrator.

Old histories hold old outcomes, so a kind may be added here and none may change its meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject
from pydantic import Field, TypeAdapter


class Done(Contract):
    """The run has ended, or does not exist (any more)."""

    kind: Literal["done"] = "done"


class Superseded(Contract):
    """Somebody else drives this run now; leave it alone."""

    kind: Literal["superseded"] = "superseded"


class Sleep(Contract):
    """Nothing can be done before this many seconds have passed, or before ``event`` is raised.

    Without ``seconds`` there is nothing but the event; without ``event``, nothing but the time.
    """

    kind: Literal["sleep"] = "sleep"
    seconds: Annotated[float | None, Field(ge=0)] = None
    event: str | None = None


Outcome: TypeAlias = Annotated[Done | Superseded | Sleep, Field(discriminator="kind")]

_OUTCOME: TypeAdapter[Done | Superseded | Sleep] = TypeAdapter(Outcome)


def read_outcome(answer: object) -> Done | Superseded | Sleep:
    """What the activity answered; it arrives as plain JSON."""
    return _OUTCOME.validate_python(answer)


def wake_event(epoch: int) -> str:
    """The event that ends a sleep. Every taking of the run raises the epoch, so no sleep ever hears another's event."""
    return f"wake-{epoch}"


# Comes with the event when the run is driven elsewhere already.
LEAVE = "leave"


class DriveInput(Contract):
    """What an instance is told: which run, as which of its drivers, and the trace that started it.

    ``epoch`` is the run's when the instance was asked for: while nobody took the run since, the instance may.
    ``sleep``: begin with this, for the run has just been brought to where it waits.
    """

    run: str
    driver: int
    epoch: int
    traceparent: str | None = None
    sleep: Sleep | None = None

    def as_json(self) -> JsonObject:
        return self.model_dump(mode="json")
