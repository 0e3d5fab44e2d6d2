"""A webhook's body as JSON, whatever it came as."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from email.message import Message
from urllib.parse import parse_qsl

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.storable import DEEPEST_SENT, deeper_than
from crewmesh_kit.errors import InvalidRequest, MalformedJson
from pydantic_core import from_json

FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1_000


def parse_body(body: bytes, content_type: str) -> JsonValue:
    """JSON as itself, a form as an object, text as a string, anything else as base64. Nothing at all is null."""
    if not body:
        return None
    if content_type == "application/json":
        return _json(body)
    header = Message()
    header["content-type"] = content_type
    media, charset = header.get_content_type() if content_type else "", header.get_content_charset("utf-8")
    if media == "application/json" or media.endswith("+json"):
        return _json(body)
    if media == FORM:
        return _form(body)
    if media.startswith("text/") or media == "application/xml" or media.endswith("+xml"):
        try:
            return body.decode(charset)
        except (LookupError, UnicodeDecodeError):
            pass  # then it is bytes, whatever it says of itself
    return {"base64": base64.b64encode(body).decode(), "content_type": content_type}


def by_name(pairs: Iterable[tuple[str, str]]) -> JsonObject:
    """One value as itself, several as a list."""
    found: dict[str, JsonValue] = {}
    for name, value in pairs:
        before = found.get(name)
        if name not in found:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def _json(body: bytes) -> JsonValue:
    try:
        read: JsonValue = from_json(body)
    except ValueError as error:
        raise MalformedJson(f"The body says that it is JSON, but it is not: {error}") from error
    if deeper_than(read, DEEPEST_SENT):
        raise InvalidRequest(f"The body is nested more than {DEEPEST_SENT} deep; make it flatter.")
    return read


def _form(body: bytes) -> JsonObject:
    try:
        text = body.decode()
        return by_name(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise InvalidRequest(f"The form cannot be read: UTF-8 and at most {_MOST_FIELDS} fields are needed.") from error
