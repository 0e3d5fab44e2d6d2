"""Send one HTTP request, or deliver a webhook."""

from __future__ import annotations

from typing import Literal

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class HttpNode(EffectNode):
    """Templates may stand in ``url``, in header values and anywhere in ``body``.

    Output: ``status``, ``headers``, ``body``. The request carries a Standard Webhooks signature, and its ``webhook-id``
    is the same at every retry of the step.
    """

    kind: Literal["http"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Template
    headers: dict[str, Template] = {}
    body: JsonValue = None
    timeout_seconds: float = 20.0
