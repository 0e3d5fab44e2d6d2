"""Reading a request as strictly as a real server: what is missing or of the wrong kind is refused by its name."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue


class RefusedError(Exception):
    """The request is not as the real server documents."""

    def __init__(self, message: str, *, status: int = 400, code: str = "invalid_request", parameter: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Sent:
    """A JSON object that was sent."""

    document: JsonObject

    def text(self, name: str, *, empty: bool = True) -> str:
        value = self.document.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise RefusedError(f"{name}: a text is required.", parameter=name)
        return value

    def number(self, name: str) -> int | None:
        value = self.document.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise RefusedError(f"{name}: must be a positive integer.", parameter=name)
        return value

    def object(self, name: str, *, needed: bool = True) -> Sent:
        value = self.document.get(name)
        if value is None and not needed:
            return Sent({})
        if not isinstance(value, dict):
            raise RefusedError(f"{name}: an object is required.", parameter=name)
        return Sent(value)

    def objects(self, name: str, *, needed: bool = True) -> list[Sent]:
        value = self.document.get(name)
        if value is None and not needed:
            return []
        if not isinstance(value, list) or not value:
            raise RefusedError(f"{name}: a list is required.", parameter=name)
        if not all(isinstance(each, dict) for each in value):
            raise RefusedError(f"{name}: must be objects.", parameter=name)
        return [Sent(cast(JsonObject, each)) for each in value]

    def only(self, *known: str) -> None:
        """Some servers refuse what they do not know."""
        unknown = self.document.keys() - set(known)
        if unknown:
            raise RefusedError(f"{min(unknown)}: extra inputs are not permitted.", parameter=min(unknown))

    def base64(self, name: str) -> None:
        try:
            base64.b64decode(self.text(name, empty=False), validate=True)
        except binascii.Error as error:
            raise RefusedError(f"{name}: is not base64.", parameter=name) from error

    def data_url(self, name: str) -> None:
        head, _, data = self.text(name).partition(",")
        if not head.startswith("data:image/") or not head.endswith(";base64"):
            raise RefusedError(f"{name}: must be a data URL of an image.", parameter=name)
        Sent({name: data}).base64(name)


def read_json(body: bytes) -> Sent:
    try:
        document = cast(JsonValue, json.loads(body))
    except ValueError as error:
        raise RefusedError("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise RefusedError("The body must be an object.")
    return Sent(document)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request as it arrived: what tests look at, whatever the protocol. ``document`` is all of it."""

    model: str
    prompt: str
    document: JsonObject
    images: int = 0
    tools: tuple[str, ...] = ()
    schema: JsonObject | None = None
    most_tokens: int | None = None
    streamed: bool = False
