"""Start a run for every request to an address of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.workflow.triggers.base import TriggerBase


class WebhookTrigger(TriggerBase):
    """``trigger.data`` holds ``method``, ``headers``, ``query`` and ``body``.

    Auth ``hmac`` follows Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature); ``github`` is its
    X-Hub-Signature-256; ``basic`` and ``header`` compare a secret. /v1/workflows/{id}/triggers tells both.
    """

    kind: Literal["webhook"]
    auth: Literal["none", "basic", "header", "hmac", "github"] = "none"
    respond: Annotated[
        Literal["now", "when_done"], Field(description="now: 202 with the run; when_done: with its result.")
    ] = "now"
    wait_seconds: Annotated[
        float, Field(gt=0, le=50, description="Longer runs are answered with 202. The edge waits for a minute.")
    ] = 30
