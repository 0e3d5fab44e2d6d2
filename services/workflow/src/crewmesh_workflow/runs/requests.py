"""What callers ask to be started."""

from __future__ import annotations

from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from pydantic import Field, StrictInt, model_validator

Priority = Annotated[int, Field(ge=0, le=9, description="9 is first; without it, as the workflow's settings say.")]
Samples = Annotated[
    dict[str, JsonObject],
    Field(max_length=500, description="Outputs by node id or path; for a waiting node, what arrives."),
]
Version = Annotated[int, Field(ge=1, le=2_000_000_000)]


class StartRun(Contract):
    """``input`` is what expressions read as ``trigger.data``."""

    input: JsonValue = {}
    priority: Priority | None = None


class TryRun(Contract):
    """A run that does no effects. ``trigger`` replaces all of what expressions read as ``trigger``, to try others."""

    input: JsonValue = {}
    trigger: JsonObject | None = None
    samples: Samples = {}
    version: Version | Literal["draft", "latest"] = "draft"


class Rerun(Contract):
    """A new run of the same version with the same trigger."""

    version: Annotated[Version | Literal["same", "latest"], Field(description="latest: the published one of now.")] = (
        "same"
    )
    priority: Priority | None = None


class RerunFrom(Contract):
    """``input`` replaces the step's own rendered input; ``trigger_data`` what expressions read as ``trigger.data``."""

    input: Annotated[JsonObject | None, Field(description="Only of a step that is an action.")] = None
    trigger_data: JsonValue = None
    priority: Priority | None = None


class Fork(Contract):
    """A new run that begins where the other was at ``at``: right after an event, or right before a step."""

    at: Annotated[
        StrictInt | str,
        Field(description="The number of an event (GET /v1/runs/{run}/logs tells them), or a step's path."),
    ]
    trigger_data: JsonValue = None
    vars: Annotated[
        dict[str, JsonValue], Field(max_length=100, description="Other values for variables that were set by then.")
    ] = {}
    version: Version | Literal["same", "latest"] = "same"
    priority: Priority | None = None

    @model_validator(mode="after")
    def _at_is_some_place(self) -> Fork:
        if isinstance(self.at, int) and not 0 <= self.at <= 2_000_000_000:
            raise ValueError("at is the number of an event, or the path of a step")
        return self
