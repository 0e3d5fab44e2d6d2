"""What the caller of a webhook gets: the run, or what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import to_json
from starlette.responses import Response

from crewmesh_workflow.engine.ends import Ended
from crewmesh_workflow.hooks.errors import RunBehindHookFailed

_RUN_HEADER = "x-crewmesh-run"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\u0080-\u00ff]*")
# Of one hop, of our own server, or about more than this one answer: none of it is a workflow's to say.
_NOT_THEIRS = frozenset(
    {
        "clear-site-data",
        "connection",
        "content-encoding",
        "content-length",
        "content-security-policy",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server",
        "service-worker-allowed",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
        _RUN_HEADER,
    }
)
_NOT_THEIR_PREFIXES = ("crewmesh-", "dapr-", "proxy-")
# A page that a workflow answers stands under the address of the API; as this it can do nothing there.
_CONFINED = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
_WITHOUT_BODY = frozenset({204, 205, 304})


def accepted(run: str) -> Response:
    """The run goes on; here is where it can be followed."""
    headers = {"location": f"/v1/runs/{run}", _RUN_HEADER: run}
    return Response(to_json({"run": run}), status_code=202, headers=headers, media_type="application/json")


def outcome(run: str, ended: Ended) -> Response:
    """What the run answered or put out. Raises RunBehindHookFailed when there is neither."""
    if ended.response is not None:
        return _answered(run, ended.response)
    if ended.status != "completed":
        raise RunBehindHookFailed(run, ended.status)
    return Response(to_json(ended.output or {}), headers={_RUN_HEADER: run}, media_type="application/json")


def _answered(run: str, response: JsonObject) -> Response:
    status, body = response.get("status"), response.get("body")
    headers = {**_theirs(cast("Mapping[str, JsonValue]", response.get("headers") or {})), **_CONFINED, _RUN_HEADER: run}
    status = status if isinstance(status, int) else 200
    if body is None or status in _WITHOUT_BODY:
        return Response(status_code=status, headers=headers)
    text = isinstance(body, str)
    content = body.encode() if isinstance(body, str) else to_json(body)
    headers.setdefault("content-type", "text/plain; charset=utf-8" if text else "application/json")
    return Response(content, status_code=status, headers=headers)


def _theirs(headers: Mapping[str, JsonValue]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for told, value in headers.items():
        name, text = told.lower(), str(value)
        if name in _NOT_THEIRS or name.startswith(_NOT_THEIR_PREFIXES):
            continue
        if _NAME.fullmatch(name) and _VALUE.fullmatch(text):
            kept[name] = text
    return kept
