"""Sending one HTTP request to the world, guarded and signed, by the integration service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from crewmesh_contracts.base import Contract, JsonValue, Reply
from crewmesh_contracts.invocations.base import Invocation

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\t\x20-\x7e]*$", max_length=4_000)]


class HttpSend(Contract):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=30)] = {}
    body: JsonValue = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 15.0
    repeatable: Annotated[
        bool,
        Field(
            description="Whether the request may be sent again under its key when it is unknown whether it was sent. "
            "If not, the problem outcome-unknown is answered instead."
        ),
    ] = True
    same_origin: Annotated[
        bool, Field(description="Whether redirects are followed only where scheme, host and port stay the same.")
    ] = False


class HttpReply(Reply):
    """What the other side said. ``body`` is parsed JSON where it was JSON, text, or {base64, content_type}.

    It is cut at the size limit.
    """

    status: Annotated[int, Field(examples=[200])]
    headers: dict[str, str]
    body: JsonValue


SEND_HTTP = Invocation(
    app="integration",
    path="/internal/http-requests",
    permission="http:send",
    request=HttpSend,
    result=HttpReply,
    callers=("workflow", "agent-crew"),
    effect=True,
)
