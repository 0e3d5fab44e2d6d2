"""The one place where failures become answers: every one leaves as an RFC 9457 problem document.

What the framework raises (unknown path, wrong method, unreadable or misshapen body) and what libraries raise (a lost
database) is translated into our own tree first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import cast

import psycopg
from crewmesh_contracts.base import JsonObject, JsonValue
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from crewmesh_kit.db.storable import DEEPEST_SENT, unfit_places
from crewmesh_kit.errors import (
    PROBLEM_MEDIA_TYPE,
    InternalError,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Problem,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)
from crewmesh_kit.http.access import check_access
from crewmesh_kit.logs import get_logger
from crewmesh_kit.misshapen import Loc, ShapeError, told
from crewmesh_kit.speakable import speakable
from crewmesh_kit.telemetry import current_trace_id

_MOST_ERRORS_TOLD = 50
_DATABASE_GONE = "The database cannot be reached right now. Repeat the request in a few seconds."

log = get_logger(__name__)


# Exceptions of libraries, and what they mean to a caller.
TRANSLATIONS: Mapping[type[Exception], tuple[type[Problem], str]] = {
    PoolTimeout: (Unavailable, _DATABASE_GONE),
    psycopg.OperationalError: (Unavailable, _DATABASE_GONE),
    psycopg.InterfaceError: (Unavailable, _DATABASE_GONE),
    psycopg.DataError: (
        InvalidRequest,
        "The request holds a value that cannot be stored: text with a NUL character, or a number out of range.",
    ),
}


def install(app: FastAPI) -> None:
    """Render every failure of ``app`` as a problem."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_framework_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    for kind in TRANSLATIONS:
        app.add_exception_handler(kind, _answer_translated)


class ProblemResponse(JSONResponse):
    media_type = PROBLEM_MEDIA_TYPE

    def __init__(self, problem: Problem, *, path: str) -> None:
        super().__init__(
            problem.document(instance=path, trace_id=current_trace_id()),
            status_code=problem.status,
            headers={"Cache-Control": "no-store", **problem.headers},
        )


def translated(error: Exception) -> Problem:
    """``error`` as a problem; what nobody foresaw is an internal error, and tells nothing of its inside."""
    if isinstance(error, Problem):
        return error
    for kind, (problem, detail) in TRANSLATIONS.items():
        if isinstance(error, kind):
            return problem(detail)
    return InternalError("Something went wrong on our side. It is logged under this trace id; try again.")


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = cast(Problem, error)
    if problem.status >= 500:
        log.warning("request failed", path=speakable(request.url.path), problem=problem.slug, detail=problem.detail)
    return ProblemResponse(problem, path=request.url.path)


async def _answer_translated(request: Request, error: Exception) -> Response:
    problem = translated(error)
    if isinstance(error, psycopg.DataError) and (unfit := await _unfit(request)):
        place, message = unfit[0]
        problem = InvalidRequest(
            f"{place}: {message}. Correct what errors lists.",
            errors=[{"path": path, "message": message} for path, message in unfit],
        )
    log.warning("request failed", path=speakable(request.url.path), problem=problem.slug, exc_info=error)
    return ProblemResponse(problem, path=request.url.path)


async def _unfit(request: Request) -> list[tuple[str, str]]:
    """The places of what the database refused: looked for only when it has, for that is rare."""
    asked: JsonObject = {"path": dict(request.path_params), "query": dict(request.query_params)}
    asked |= {"header": {name: value for name, value in request.headers.items() if name == "idempotency-key"}}
    if _says_json(request):
        with suppress(ValueError, RecursionError, RuntimeError):  # nothing that was read here before
            asked["body"] = json.loads(await request.body())
    found = (each for root, value in asked.items() for each in unfit_places(value, root))
    return list(islice(found, _MOST_ERRORS_TOLD))


async def _answer_framework_error(request: Request, error: Exception) -> Response:
    raised = cast(HTTPException, error)
    if raised.status_code < 400 or raised.status_code in (204, 304):
        return Response(status_code=raised.status_code, headers=raised.headers)
    problem = await _after_access(request) if raised.status_code == 400 else None
    return ProblemResponse(problem or _from_framework(request, raised), path=request.url.path)


async def _after_access(request: Request) -> Problem | None:
    """Why the caller hears nothing of an unreadable body: the framework reads it before it asks who is calling."""
    try:
        await check_access(request)
    except Problem as refused:
        return refused
    return None


def _from_framework(request: Request, raised: HTTPException) -> Problem:
    method, path = request.method, request.url.path
    if isinstance(raised.__cause__, (UnicodeDecodeError, RecursionError)):
        return MalformedJson("The body is not JSON: it must be UTF-8 text, and not nested thousands deep.")
    explained: dict[int, tuple[type[Problem], str]] = {
        401: (Unauthenticated, raised.detail),
        403: (PermissionDenied, raised.detail),
        404: (NotFound, f"There is nothing at {path}. /openapi.json lists every path."),
        405: (MethodNotAllowed, f"{path} does not take {method}; the Allow header lists what it takes."),
        413: (PayloadTooLarge, raised.detail),
        415: (UnsupportedMediaType, raised.detail),
    }
    default = (InvalidRequest if raised.status_code < 500 else InternalError, raised.detail)
    kind, detail = explained.get(raised.status_code, default)
    headers = {"Allow": _allowed(request)} if raised.status_code == 405 else raised.headers
    return kind(detail, headers=headers)


def _allowed(request: Request) -> str:
    """What all routes of the path take. The framework tells what the first of them does."""
    path = cast(str, request.scope["path"])
    allowed: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        regex = cast("re.Pattern[str] | None", getattr(route, "path_regex", None))
        if regex is not None and regex.match(path):
            allowed |= route.methods or set()
    return ", ".join(sorted(allowed))


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    mistakes = cast(RequestValidationError, error)
    unreadable = any(each["type"] == "json_invalid" for each in cast("Sequence[ShapeError]", mistakes.errors()))
    problem = await _after_access(request) if unreadable else None
    return ProblemResponse(problem or _from_validation(request, mistakes), path=request.url.path)


def _from_validation(request: Request, error: RequestValidationError) -> Problem:
    errors = cast("Sequence[ShapeError]", error.errors())
    first = errors[0]
    if first["type"] == "json_invalid":
        place = first["loc"][-1]
        return MalformedJson(f"The body is not JSON: it cannot be read from character {place} on.")
    if any(each["type"] == "recursion_loop" for each in errors):
        return ValidationFailed(f"The body is nested more than {DEEPEST_SENT} deep; make it flatter.")
    if isinstance(error.body, bytes) and error.body and not _says_json(request):
        return UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
    mistakes = _mistakes(errors, cast("JsonValue", error.body))
    place, message = mistakes[0]
    more = f" and {len(mistakes) - 1} more" if len(mistakes) > 1 else ""
    kind = ValidationFailed if any(each["loc"][:1] == ("body",) for each in errors) else InvalidRequest
    return kind(
        f"{place_of(place)}: {message}{more}. Correct what errors lists.",
        errors=[{"path": place_of(loc), "message": said} for loc, said in mistakes[:_MOST_ERRORS_TOLD]],
    )


def _mistakes(errors: Sequence[ShapeError], body: JsonValue) -> list[tuple[Loc, str]]:
    """What is wrong with the request. Its values may hold secrets, and are not told."""
    # Parameters and fields of forms have one level.
    flat: dict[str | int, dict[str | int, None]] = {}
    for each in errors:
        flat.setdefault(each["loc"][0], {}).update(dict.fromkeys(each["loc"][1:2]))
    return told(errors, {**flat, "body": body} if isinstance(body, (dict, list)) else flat)


def place_of(loc: Sequence[str | int]) -> str:
    """``("body", "nodes", 2, "url")`` → ``body.nodes[2].url``."""
    place = ""
    for part in loc:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
