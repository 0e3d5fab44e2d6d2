"""Send one HTTP request, or deliver a webhook."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from crewmesh_contracts.base import Contract, JsonValue
from crewmesh_contracts.invocations.http import HttpReply
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class Verification(Contract):
    """How to ask whether a request took effect: an answer below 300 says yes, 404 says no."""

    url: Template
    headers: dict[str, Template] = {}


class HttpNode(EffectNode):
    """Templates may stand in ``url``, in header values and anywhere in ``body``.

    Output: ``status``, ``headers``, ``body``. The request carries a Standard Webhooks signature, and its ``webhook-id``
    is the same at every retry of the step.
    """

    Output: ClassVar = HttpReply

    kind: Literal["http"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Template
    headers: dict[str, Template] = {}
    body: JsonValue = None
    effect: Annotated[
        Literal["idempotent", "verifiable", "unsafe"],
        Field(
            description="What a second request with the same webhook-id does. idempotent: nothing more. verifiable: it "
            "can be asked whether the first took effect (see verify). unsafe: it might happen twice, so that after a "
            "crash in the middle a person is asked."
        ),
    ] = "idempotent"
    verify: Verification | None = None
    timeout_seconds: float = 20.0

    @model_validator(mode="after")
    def _verifiable_says_how(self) -> HttpNode:
        if (self.effect == "verifiable") != (self.verify is not None):
            raise ValueError("verify belongs to effect: verifiable, and that needs it")
        return self
