"""Topics in: every message that arrives is handled, tried again, or kept among the dead letters. Nothing else happens.

What was verified with daprd 1.18.2 and Redis streams, and why it is done this way:

- Unless a subscription says ``rawPayload``, daprd parses the message itself, and a numeric ``traceid`` panics it, again
  at every redelivery. With ``rawPayload`` it hands over the bytes as they are, whatever they are.
- ``RETRY`` is tried again as the resiliency policy for deliveries says; after that the bytes go to the dead letter
  topic. Without a policy one RETRY is enough for that.
- ``DROP`` goes to the dead letter topic too, but nothing can be said about the reason. So a message that will never
  work is published there by us, with its reason, and ``DROP`` is what remains when even that fails for good.
- A message that the process died over stays in the stream and comes again after the broker's processingTimeout.
- Publishing through daprd replaces the ``traceparent`` of an event by its own; see ``traces``.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, Protocol, TypeAlias, cast

import psycopg
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI
from pydantic import BaseModel, ValidationError

from crewmesh_kit.dapr.dead_topics import DeadLetterNotice, dead_topic
from crewmesh_kit.dapr.sidecar import PUBSUB, Sidecar
from crewmesh_kit.dapr.traces import TRACE_ATTRIBUTE
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import bound, get_logger
from crewmesh_kit.resources import Resources
from crewmesh_kit.telemetry import continued

HandleEvent: TypeAlias = Callable[[Resources, CloudEvent], Awaitable[None]]
HandlePayload: TypeAlias = Callable[[bytes], Awaitable["Verdict"]]

# What daprd adds on the way, and the standard does not know.
_ADDED_BY_DAPR = ("topic", "pubsubname", "traceid", "traceparent", "tracestate")

log = get_logger(__name__)


class Verdict(BaseModel):
    """What the sidecar is told about a message."""

    status: Literal["SUCCESS", "RETRY", "DROP"]


SUCCESS, RETRY, DROP = (Verdict(status=status) for status in ("SUCCESS", "RETRY", "DROP"))


class PoisonMessage(Exception):  # noqa: N818  it names the message, not a mistake of ours
    """The message will not work, however often it is tried."""


class _Delivery(BaseModel):
    """How daprd wraps a raw payload."""

    data_base64: str = ""


class _Subscribe(Protocol):
    def __call__(
        self, *, pubsub: str, topic: str, metadata: dict[str, str], route: str, dead_letter_topic: str | None
    ) -> Callable[[Callable[..., object]], None]: ...


class Subscriptions:
    """The topics one service listens to; routes for its sidecar on the service's own app."""

    def __init__(self, app: FastAPI, resources: Resources) -> None:
        self._dapr = DaprApp(app, router_tags=["subscriptions"])
        self._resources = resources

    def add(self, topic: str, handler: HandleEvent) -> None:
        """Give every CloudEvent on ``topic`` to ``handler``; what fails for good goes to its dead letter topic."""

        async def handle(payload: bytes) -> Verdict:
            return await self._handle(topic, handler, payload)

        self.add_raw(topic, handle, dead_letter_topic=dead_topic(topic))

    def add_raw(self, topic: str, handle: HandlePayload, *, dead_letter_topic: str | None = None) -> None:
        """Give the bytes of every message on ``topic`` to ``handle``."""

        async def receive(delivery: Annotated[_Delivery, Body()]) -> Verdict:
            try:
                payload = base64.b64decode(delivery.data_base64)
            except binascii.Error:
                payload = delivery.data_base64.encode()
            return await handle(payload)

        subscribe = cast("_Subscribe", self._dapr.subscribe)  # pyright: ignore[reportUnknownMemberType]  it is untyped
        subscribe(
            pubsub=PUBSUB,
            topic=topic,
            metadata={"rawPayload": "true"},
            route=f"/subscriptions/{topic}",
            dead_letter_topic=dead_letter_topic,
        )(receive)

    async def _handle(self, topic: str, handler: HandleEvent, payload: bytes) -> Verdict:
        try:
            event, trace = read_event(payload)
            with continued(trace), bound(event_id=event.id, event_type=event.type, organization=event.crewmeshorg):
                try:
                    await handler(self._resources, event)
                except Problem as problem:
                    if not problem.retryable:
                        raise PoisonMessage(f"{problem.title}: {problem.detail}") from problem
                    log.warning("event is tried again", topic=topic, reason=problem.detail)
                    return RETRY
                except ValidationError as error:
                    raise PoisonMessage(summary_of(error)) from error
                except psycopg.DataError as error:  # a NUL character, a number out of range: never storable
                    raise PoisonMessage(f"its content cannot be stored: {error}") from error
                except Exception:
                    log.exception("event handler failed; the event is tried again", topic=topic)
                    return RETRY
        except PoisonMessage as poison:
            return await self._bury(topic, payload, str(poison))
        return SUCCESS

    async def _bury(self, topic: str, payload: bytes, reason: str) -> Verdict:
        sidecar = self._resources.get(Sidecar)
        log.warning("message goes to the dead letters", topic=topic, reason=reason)
        notice = DeadLetterNotice.of(topic, payload, f"{sidecar.app_id}: {reason}")
        try:
            await sidecar.publish(dead_topic(topic), notice.envelope(sidecar.app_id))
        except Problem as problem:
            log.warning("dead letter could not be published", topic=topic, reason=problem.detail)
            return RETRY if problem.retryable else DROP
        return SUCCESS


def read_event(payload: bytes) -> tuple[CloudEvent, dict[str, str]]:
    """The event as its producer made it, and the headers of the trace it belongs to."""
    try:
        document = cast(object, json.loads(payload))
    except (ValueError, RecursionError) as error:
        raise PoisonMessage(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PoisonMessage("it is JSON, but not an object")
    attributes = cast(JsonObject, document)
    carried = attributes.pop(TRACE_ATTRIBUTE, None) or attributes.get("traceparent")
    for name in _ADDED_BY_DAPR:
        if isinstance(attributes.get(name), str):  # what is no string did not come from daprd, and is refused below
            del attributes[name]
    try:
        event = CloudEvent.model_validate(attributes)
    except ValidationError as error:
        raise PoisonMessage(summary_of(error)) from error
    return event, {"traceparent": carried} if isinstance(carried, str) and carried else {}


def summary_of(error: ValidationError) -> str:
    """Where it is wrong and how, without repeating what was sent."""
    places = [f"{'.'.join(map(str, one['loc'])) or 'event'}: {one['msg']}" for one in error.errors(include_input=False)]
    return f"it has not the agreed shape: {'; '.join(places[:10])}"
