"""One tree of errors; each type knows its status, its slug, and whether trying again may help.

::

    Problem
    ├── InvalidRequest 400          ├── PreconditionFailed 412        ├── TooManyRequests 429 (retryable)
    │   └── MalformedJson 400       ├── PayloadTooLarge 413           ├── InternalError 500 (retryable)
    ├── Unauthenticated 401         ├── UnsupportedMediaType 415      ├── BadGateway 502
    ├── PermissionDenied 403        ├── ValidationFailed 422          ├── Unavailable 503 (retryable)
    ├── NotFound 404                ├── IdempotencyKeyReused 422      ├── GatewayTimeout 504 (retryable)
    ├── MethodNotAllowed 405        ├── PreconditionRequired 428      └── RemoteProblem (as the other service said)
    └── Conflict 409, OperationInProgress 409 (retryable)

Every HTTP edge renders them as RFC 9457 problem documents. Services add types of their own beside their features; the
catalogue in docs/reference/problems.md is generated from the whole tree, with each docstring as the explanation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from crewmesh_contracts.base import JsonObject, JsonValue

PROBLEM_TYPE_BASE = "https://crewmesh.dev/problems/"
PROBLEM_MEDIA_TYPE = "application/problem+json"
_STANDARD_MEMBERS = ("type", "title", "status", "detail", "instance", "trace_id", "retryable")


class Problem(Exception):  # noqa: N818  it is named after RFC 9457, and is what a caller is shown
    """Something went wrong that has a name. ``detail`` tells this occurrence and what to do about it."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: JsonValue) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.extensions: JsonObject = extensions

    def document(self, *, instance: str | None = None, trace_id: str | None = None) -> JsonObject:
        """The RFC 9457 members, then this problem's own."""
        document: JsonObject = {
            "type": PROBLEM_TYPE_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "retryable": self.retryable,
        }
        if instance is not None:
            document["instance"] = instance
        if trace_id is not None:
            document["trace_id"] = trace_id
        return {**self.extensions, **document}


class InvalidRequest(Problem):
    """The request cannot be understood: a parameter, header or cursor is not what it must be."""

    status, slug, title = 400, "invalid-request", "Invalid request"


class MalformedJson(InvalidRequest):
    """The body is not JSON. Send a UTF-8 JSON document with content-type application/json."""

    slug, title = "malformed-json", "Malformed JSON"


class Unauthenticated(Problem):
    """The caller did not say who it is, or its proof is wrong or expired."""

    status, slug, title = 401, "unauthenticated", "Not authenticated"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: JsonValue) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer", **(headers or {})}, **extensions)


class PermissionDenied(Problem):
    """The caller is known and may not do this. The answer names the permission that is missing."""

    status, slug, title = 403, "permission-denied", "Permission denied"


class NotFound(Problem):
    """There is no such thing, or it belongs to another organization."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The path exists, but not for this method; the Allow header lists those it has."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class Conflict(Problem):
    """The request contradicts the present state of the resource."""

    status, slug, title = 409, "conflict", "Conflict"


class OperationInProgress(Problem):
    """The same operation (same Idempotency-Key) is still running. Repeat the request after Retry-After seconds."""

    status, slug, title = 409, "operation-in-progress", "Operation in progress"
    retryable = True


class PreconditionFailed(Problem):
    """The resource changed since it was read: its ETag is another one. Read it again, then repeat the change."""

    status, slug, title = 412, "precondition-failed", "Precondition failed"


class PayloadTooLarge(Problem):
    """The body is larger than this service accepts."""

    status, slug, title = 413, "payload-too-large", "Payload too large"


class UnsupportedMediaType(Problem):
    """The body's content-type is not one this path reads; JSON paths want application/json."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class ValidationFailed(Problem):
    """The body is JSON, but its shape is wrong; ``errors`` lists each place and what is wrong there."""

    status, slug, title = 422, "validation-failed", "Validation failed"


class IdempotencyKeyReused(Problem):
    """This Idempotency-Key was used before with a different request. Use a new key for a new request."""

    status, slug, title = 422, "idempotency-key-reused", "Idempotency key reused"


class PreconditionRequired(Problem):
    """This change needs an If-Match header with the ETag of the version it is meant for."""

    status, slug, title = 428, "precondition-required", "Precondition required"


class TooManyRequests(Problem):
    """A limit is used up. Wait Retry-After seconds."""

    status, slug, title = 429, "too-many-requests", "Too many requests"
    retryable = True


class InternalError(Problem):
    """A fault of ours. It is logged under the trace id; repeating the request is safe with an Idempotency-Key."""

    status, slug, title = 500, "internal-error", "Internal error"
    retryable = True


class BadGateway(Problem):
    """A service or server that was asked on behalf of the caller answered nonsense, or refused."""

    status, slug, title = 502, "upstream-failed", "Upstream failed"


class Unavailable(Problem):
    """Something this needs (database, sidecar, other service) cannot be reached right now. Try again soon."""

    status, slug, title = 503, "unavailable", "Unavailable"
    retryable = True


class GatewayTimeout(Problem):
    """The service or server that was asked on behalf of the caller did not answer in time."""

    status, slug, title = 504, "upstream-timeout", "Upstream timeout"
    retryable = True


class RemoteProblem(Problem):
    """A problem that another service answered; it is passed on as that service told it."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        slug: str,
        title: str,
        retryable: bool,
        headers: Mapping[str, str] | None = None,
        **extensions: JsonValue,
    ) -> None:
        super().__init__(detail, headers=headers, **extensions)
        # What is fixed for every other type is, for this one alone, a property of the single answer.
        vars(self).update(status=status, slug=slug, title=title, retryable=retryable)

    @classmethod
    def from_answer(cls, *, app: str, status: int, body: bytes, headers: Mapping[str, str]) -> RemoteProblem:
        """Read what ``app`` answered; an answer that is no problem document becomes one by its status alone."""
        document = _problem_document(body)
        passed_on = {name: value for name, value in headers.items() if name.lower() in ("retry-after", "allow")}
        retryable = document.get("retryable")
        return cls(
            str(document.get("detail") or f"{app} answered with status {status}"),
            status=status,
            slug=str(document.get("type", "upstream-failed")).rsplit("/", 1)[-1],
            title=str(document.get("title") or "Upstream failed"),
            retryable=retryable if isinstance(retryable, bool) else status in (429, 500, 503, 504),
            headers=passed_on,
            **{name: value for name, value in document.items() if name not in _STANDARD_MEMBERS},
        )


def _problem_document(body: bytes) -> JsonObject:
    try:
        document: Any = json.loads(body)
    except ValueError:
        return {}
    return cast(JsonObject, document) if isinstance(document, dict) else {}
