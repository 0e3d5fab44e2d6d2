"""From what a workflow asks to what is sent: URL and headers checked, body encoded, the same for the same request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import HttpSend
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.outbound.headers import refused_headers
from crewmesh_kit.outbound.targets import BadUrlError, Target, parse_target


@dataclass(frozen=True, slots=True)
class Outgoing:
    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    repeatable: bool = True
    same_origin: bool = False


def outgoing(request: HttpSend) -> Outgoing:
    """Check and encode; raises ValidationFailed, naming each place that is wrong, and nothing of what stands there."""
    problems: dict[str, str] = {}
    target = _target(request.url, problems)
    problems |= {f"body.headers.{name}": why for name, why in refused_headers(request.headers)}
    body = _body(request.body, request.headers, problems)
    if target is None or problems:
        raise ValidationFailed(
            "The HTTP request cannot be sent as it is; correct the places listed in errors.",
            errors=[_place(path, message) for path, message in problems.items()],
        )
    headers = dict(request.headers)
    if body is not None and not _content_type(headers):
        headers["Content-Type"] = "application/json"
    return Outgoing(
        request.method, target, headers, body, request.timeout_seconds, request.repeatable, request.same_origin
    )


def _place(path: str, message: str) -> JsonObject:
    return {"path": path, "message": message}


def _target(url: str, problems: dict[str, str]) -> Target | None:
    try:
        return parse_target(url)
    except BadUrlError as error:
        problems["body.url"] = f"this URL cannot be used: {error}"
        return None


def _body(body: JsonValue, headers: Mapping[str, str], problems: dict[str, str]) -> bytes | None:
    """Text goes out as it is under a content type that is not JSON; everything else is JSON."""
    if body is None:
        return None
    try:
        if isinstance(body, str) and "json" not in (_content_type(headers) or "json"):
            return body.encode()
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        problems["body.body"] = "this is not valid JSON: numbers must be finite, text must be valid Unicode"
        return None


def _content_type(headers: Mapping[str, str]) -> str | None:
    return next((value.lower() for name, value in headers.items() if name.lower() == "content-type"), None)
