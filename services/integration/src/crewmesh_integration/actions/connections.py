"""What a connection is: actions by name, each with the inputs it takes. And the one that needs no credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol, TypeVar

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from crewmesh_contracts.invocations import HttpSend
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.identity import Identity
from pydantic import Field, ValidationError

from crewmesh_integration.http_requests.service import HttpRequests

InputsT = TypeVar("InputsT", bound=Contract)
_LONGEST_SECONDS = 120.0


class Action(Protocol):
    async def run(self, identity: Identity, key: str, inputs: Mapping[str, JsonValue], seconds: float) -> JsonValue:
        """Do it once per key; the same key gets the same result."""
        ...


Connection = Mapping[str, Action]


class WebhookInputs(Contract):
    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    body: JsonValue = None


class SendWebhook:
    """``webhook.send``: a signed POST of ``body`` to ``url``. Receivers know a repetition by its webhook-id."""

    def __init__(self, http_requests: HttpRequests) -> None:
        self._http_requests = http_requests

    async def run(self, identity: Identity, key: str, inputs: Mapping[str, JsonValue], seconds: float) -> JsonValue:
        given = checked(WebhookInputs, inputs)
        request = HttpSend(url=given.url, body=given.body, timeout_seconds=min(seconds, _LONGEST_SECONDS))
        try:
            reply = await self._http_requests.send(identity, key, request)
        except ValidationFailed as problem:
            raise _moved_to_inputs(problem) from problem
        return reply.model_dump(mode="json")


def built_in(http_requests: HttpRequests) -> Mapping[str, Connection]:
    """Connections that every organization has."""
    return {"webhook": {"webhook.send": SendWebhook(http_requests)}}


def checked(kind: type[InputsT], inputs: Mapping[str, JsonValue]) -> InputsT:
    """The inputs as the action takes them; every mistake with its place."""
    try:
        return kind.model_validate(dict(inputs))
    except ValidationError as error:
        places: list[JsonValue] = [
            {"path": ".".join(["body.inputs", *map(str, one["loc"])]), "message": one["msg"]}
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise ValidationFailed(
            "The inputs do not fit the action; correct the places listed in errors.", errors=places
        ) from error


def _moved_to_inputs(problem: ValidationFailed) -> ValidationFailed:
    """The sender names places in a request of its own; here they are inputs."""
    places = problem.extensions.get("errors")
    moved: list[JsonValue] = (
        [_moved(place) for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    )
    return ValidationFailed(problem.detail, errors=moved)


def _moved(place: JsonObject) -> JsonObject:
    return {**place, "path": str(place.get("path")).replace("body.", "body.inputs.", 1)}
