"""What an answer means to the workflow that asked: a reply, a refusal, or a reason to try again later.

A reply is stored and travels as JSON, so that its body must be something JSON, PostgreSQL and a sidecar can carry,
whatever the other side sends.
"""

from __future__ import annotations

import base64
import codecs
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import HttpReply
from crewmesh_kit.errors import Problem

from crewmesh_integration.guard.client import OutboundAnswer
from crewmesh_integration.guard.errors import UpstreamTimedOut, UpstreamUnreachable
from crewmesh_integration.http_requests.errors import OutcomeUnknown, UpstreamRefused, UpstreamUnavailable

BODY_NOTE = "crewmesh-body"
"""Reply header that says what of the body is missing, when something is."""

_LATER = frozenset({408, 425, 429})
# Answers that say the request was not taken. Any other failure of a server may come after it has acted.
_NOT_TAKEN = _LATER | {503}
_LONGEST_WAIT_SECONDS = 24 * 3600
_EXCERPT = 200
_DEPTH = 64
_TEXT_TYPE = re.compile(
    r"^(?:text/.*|application/(?:(?:[\w.+-]+\+)?(?:json|xml)|javascript|ecmascript|x-www-form-urlencoded)|.*\+xml)$"
)
_JSON_TYPE = re.compile(r"^(?:application|text)/(?:[\w.+-]+\+)?json$")
# A closed list: Python knows "charsets" that are programs rather than alphabets.
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16"})
# NUL, which PostgreSQL's jsonb refuses; surrogates, which UTF-8 does; controls, which JSON spells with six characters.
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Cookies are credentials, and none are kept; the rest speaks of the connection, not of the answer.
_NOT_PASSED_ON = frozenset(
    {"set-cookie", "set-cookie2", "connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length"}
)
_MOST_HEADERS = 100
_LONGEST_HEADER = 2_000


def judge(answer: OutboundAnswer, *, host: str) -> HttpReply | UpstreamRefused | UpstreamUnavailable:
    if 200 <= answer.status < 400:
        body, note = _body(answer)
        return HttpReply(status=answer.status, headers=_headers(answer, note), body=body)
    said = _excerpt(answer)
    detail = f"{host} answered {answer.status}"
    if 400 <= answer.status < 500 and answer.status not in _LATER:
        detail += f": {said}" if said else "."
        return UpstreamRefused(detail, upstream_status=answer.status, upstream_said=said)
    # Server-side failures are logged with their detail, and what others say has no place in our logs.
    return UpstreamUnavailable(
        f"{detail}; it may take the request later.",
        upstream_status=answer.status,
        upstream_said=said,
        retry_after=_retry_after(answer.headers, datetime.now(UTC)),
    )


def certain(outcome: HttpReply | Problem, *, redirects: int = 0) -> HttpReply | Problem:
    """What came of a request that must not be sent twice. It stays as it is where it is known to be the truth."""
    match outcome:
        case UpstreamRefused() | UpstreamUnavailable() if redirects:
            # Who redirects may have acted; who answers now speaks for the last place only.
            why = f"The other side redirected, and then answered {outcome.upstream_status}."
            return OutcomeUnknown(why, upstream_status=outcome.upstream_status)
        case UpstreamUnavailable() if outcome.upstream_status not in _NOT_TAKEN:
            why = f"The other side answered {outcome.upstream_status}."
            return OutcomeUnknown(why, upstream_status=outcome.upstream_status)
        case UpstreamUnreachable() | UpstreamTimedOut() if outcome.extensions["sent"] is True:
            return OutcomeUnknown(outcome.what)
        case Problem() if outcome.extensions.get("sent") is True:
            return OutcomeUnknown(outcome.detail)
        case _:
            return outcome


def _headers(answer: OutboundAnswer, note: str | None) -> dict[str, str]:
    passed_on = {
        name.lower(): _fit(value)[:_LONGEST_HEADER]
        for name, value in list(answer.headers.items())[:_MOST_HEADERS]
        if name.lower() not in _NOT_PASSED_ON and name.lower() != BODY_NOTE
    }
    return passed_on if note is None else {**passed_on, BODY_NOTE: note}


def _body(answer: OutboundAnswer) -> tuple[JsonValue, str | None]:
    """What the body is as JSON, and what is missing of it."""
    if not answer.body:
        return None, answer.note
    if answer.note is None and _JSON_TYPE.match(answer.content_type):
        try:
            return _parsed(answer.body), None
        except (ValueError, RecursionError):
            return _text(answer), None  # it says it is JSON and is not, or none that can be carried
    if _TEXT_TYPE.match(answer.content_type) or _is_text(answer):
        return _text(answer), answer.note
    return _bytes(answer)


def _is_text(answer: OutboundAnswer) -> bool:
    """Whether nothing is lost when it is taken for text, whatever it says of itself."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(answer.body, final=answer.note is None)  # the cut may go through a character
    except UnicodeDecodeError:
        return False
    return _UNFIT.search(text) is None


def _bytes(answer: OutboundAnswer) -> tuple[JsonObject, str | None]:
    """As base64, of which there is no more than there would be of text."""
    most = answer.most_bytes // 4 * 3
    note = answer.note if len(answer.body) <= most else f"cut after {most} bytes"
    encoded = base64.b64encode(answer.body[:most]).decode()
    return {"base64": encoded, "content_type": answer.content_type}, note


def _parsed(body: bytes) -> JsonValue:
    value = cast(JsonValue, json.loads(body.decode("utf-8-sig"), parse_constant=_not_json))
    fit = _fit_value(value, _DEPTH)
    # "1e15" takes four characters to write and eighteen to repeat.
    if len(json.dumps(fit, ensure_ascii=False)) > 2 * len(body) + 1_000:
        raise ValueError("it grows when it is written again")
    return fit


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _fit_value(value: JsonValue, depth: int) -> JsonValue:
    match value:
        case str():
            return _fit(value)
        case float() if not math.isfinite(value):
            raise ValueError("a number is too large")
        case list() | dict() if depth == 0:
            raise ValueError("it is nested too deeply")
        case list():
            return [_fit_value(item, depth - 1) for item in value]
        case dict():
            return {_fit(name): _fit_value(item, depth - 1) for name, item in value.items()}
        case _:
            return value


def _fit(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)


def _text(answer: OutboundAnswer) -> str:
    charset = (answer.charset or "utf-8").lower()
    return _fit(answer.body.decode(charset if charset in _CHARSETS else "utf-8", errors="replace"))


def _excerpt(answer: OutboundAnswer) -> str:
    said = " ".join(_text(answer).split())
    return f"{said[:_EXCERPT]}…" if len(said) > _EXCERPT else said


def _retry_after(headers: Mapping[str, str], now: datetime) -> int | None:
    """Seconds or a date, as the standard allows; nonsense is no wish."""
    wish = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if wish.isascii() and wish.isdigit():
        seconds = int(wish[:9])
    else:
        try:
            at = parsedate_to_datetime(wish)
        except ValueError:
            return None
        seconds = math.ceil((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
    return min(max(seconds, 0), _LONGEST_WAIT_SECONDS)
