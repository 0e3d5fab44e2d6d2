"""HTTP of webhooks: strangers come in here."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from fastapi import APIRouter, Request
from starlette.responses import Response

from crewmesh_workflow.hooks.service import HookRequest, Hooks

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

router = APIRouter(prefix="/v1/hooks", tags=["hooks"], dependencies=[public(), any_query()])
_Hooks = Annotated[Hooks, provided(Hooks)]


async def call_hook(token: str, request: Request, hooks: _Hooks) -> Response:
    """Start a run of the webhook's workflow. The same delivery again starts no second run and is answered the same.

    Answers 202 with the run, or, where the trigger says `when_done`, what the run answers or puts out.
    """
    return await hooks.receive(token, await _read(request))


async def call_test_hook(token: str, request: Request, hooks: _Hooks) -> Response:
    """Start a test run: its steps give samples, and nothing that reaches the world is done."""
    return await hooks.receive(token, await _read(request), test=True)


async def _read(request: Request) -> HookRequest:
    body = await request.body()
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return HookRequest(request.method, headers, tuple(request.query_params.multi_items()), body)


for _method in METHODS:
    # One route for each, so that each has a name of its own in the API's description. No key is asked for.
    for _path, _handler in (("/{token}", call_hook), ("/test/{token}", call_test_hook)):
        router.add_api_route(
            _path,
            _handler,
            methods=[_method],
            operation_id=f"{_handler.__name__}_{_method.lower()}",
            response_class=Response,
            openapi_extra={"security": []},
        )
