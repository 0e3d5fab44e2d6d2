"""What a server's refusal means. Every protocol tells the same few things; here they are told apart once.

A refusal is known by its status, and within 4xx by the code or the words that the providers document for it. Of what
the server said only its own message is passed on, shortened and without anything that looks like a key.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from crewmesh_contracts.base import JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.providers.protocol import FailureKind, ProviderError

_EXCERPT = 300
_LONGEST_PAUSE = 3_600.0
# What providers call their keys; one that is quoted back ("Incorrect API key provided: sk-…") is not passed on.
_KEY = re.compile(r"(?:sk|gsk|key|AIza|AKIA|ASIA|Bearer|pk)[-_ ]?[A-Za-z0-9*._-]{6,}")
_TOO_LONG = re.compile(
    r"context_length_exceeded|context length|context window|maximum context|prompt is too long|input is too long"
    r"|input token count|too many (?:input )?tokens|request_too_large|reduce the length"
    r"|exceeds? the (?:maximum|max|model'?s) (?:number of )?(?:input )?tokens",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content_filter|content_policy|responsibleaipolicy|content management policy", re.IGNORECASE)
_BAD_KEY = re.compile(
    r"API_KEY_INVALID|API key not valid|invalid_api_key|UnrecognizedClient|InvalidSignature|ExpiredToken"
    r"|security token included in the request",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient_quota|credit balance|insufficient credit|billing_hard_limit|billing_not_active", re.IGNORECASE
)
_LIMITED = re.compile(r"rate_limit_exceeded|ThrottlingException|tokens per minute|RESOURCE_EXHAUSTED", re.IGNORECASE)
_BY_STATUS: Mapping[int, FailureKind] = {
    401: "bad-key",
    403: "bad-key",
    408: "unavailable",
    409: "unavailable",
    425: "unavailable",
    429: "limited",
    503: "overloaded",
    529: "overloaded",
}
_RESETS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "x-ratelimit-reset")
_ANTHROPIC_RESETS = ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset")
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


class Told(Reply):
    """The members that providers' error objects have; each has some of them."""

    message: str = ""
    code: str | int | None = None
    type: str | None = None
    status: str | None = None
    param: str | None = None
    details: JsonValue = None


class _Document(Reply):
    error: Told | str | None = None
    message: str = ""


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error that an answer with this status is."""
    told = _told(body)
    return failure_told(status, told, pause=pause_in(headers, told), more=headers.get("x-amzn-errortype", ""))


def failure_told(
    status: int, told: Told, *, pause: float | None = None, more: str = "", tokens_paid: bool = False
) -> ProviderError:
    """The same for an error that came inside an answer that had begun well."""
    names = f"{told.code or ''} {told.type or ''} {told.status or ''} {more} {told.message}"
    kind = _kind(status, names)
    said = _KEY.sub("•••", told.message)[:_EXCERPT].strip()
    detail = f"its server answered {status}" + (f": {said}" if said else "")
    if kind == "bad-key":
        why = "the account has no credit left" if _NO_CREDIT.search(names) else "its server does not accept the key"
        detail = f"{why} ({status})"
    return ProviderError(kind, detail, pause=pause, tokens_paid=tokens_paid, status=status, parameter=told.param)


def pause_in(headers: Mapping[str, str], told: Told | None = None) -> float | None:
    """How long to wait, wherever the server says it; nothing when it does not."""
    for found in (_retry_after(headers), _retry_info(told), _reset(headers)):
        if found is not None:
            return min(max(found, 0.0), _LONGEST_PAUSE)
    return None


def _kind(status: int, names: str) -> FailureKind:
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(names)):
        return "bad-key"
    if status in _BY_STATUS and not (status == 403 and _FILTERED.search(names)):
        return _BY_STATUS[status]
    if status >= 500:
        return "unavailable"
    return _refusal(status, names)


def _refusal(status: int, names: str) -> FailureKind:
    if _LIMITED.search(names):
        return "limited"
    if _FILTERED.search(names):
        return "filtered"
    if _BAD_KEY.search(names):
        return "bad-key"
    return "too-long" if status == 413 or _TOO_LONG.search(names) else "refused"


def _told(body: bytes) -> Told:
    # Gemini answers errors of a stream as a list of one.
    body = body.strip()
    if body.startswith(b"[") and body.endswith(b"]"):
        body = body[1:-1]
    try:
        document = _Document.model_validate_json(body)
    except ValidationError:
        return Told(message=body[:_EXCERPT].decode("utf-8", "replace"))
    if isinstance(document.error, Told):
        return document.error
    return Told(message=document.error or document.message)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    millis = headers.get("retry-after-ms", "")
    if millis.isdecimal():
        return int(millis) / 1000
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", said):
        return float(said)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    return until.timestamp() - time.time() if until.tzinfo else None


def _retry_info(told: Told | None) -> float | None:
    """Google says it in the error: ``{"@type": "…/google.rpc.RetryInfo", "retryDelay": "20s"}``."""
    if told is None or not isinstance(told.details, list):
        return None
    for detail in told.details:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return _span(delay)
    return None


def _reset(headers: Mapping[str, str]) -> float | None:
    """The limit that is free again last, for any of them may be the one."""
    spans = [_span(headers[name]) for name in _RESETS if name in headers]
    instants = [_until(headers[name]) for name in _ANTHROPIC_RESETS if name in headers]
    return max((found for found in (*spans, *instants) if found is not None), default=None)


def _span(text: str) -> float | None:
    """``1s``, ``6m0s``, ``120ms``, ``7.66s``."""
    matched = _SPAN.fullmatch(text.strip())
    if matched is None or not any(matched.groups()):
        return None
    hours, minutes, seconds, millis = (float(part or 0) for part in matched.groups())
    return hours * 3_600 + minutes * 60 + seconds + millis / 1_000


def _until(text: str) -> float | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant - datetime.now(UTC)).total_seconds() if instant.tzinfo else None
