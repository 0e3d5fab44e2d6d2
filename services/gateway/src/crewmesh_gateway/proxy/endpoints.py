"""Everything under /v1 that another service owns. The hot path: plain ASGI, no models, no database, no copies."""

from __future__ import annotations

import asyncio

import aiohttp
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import MethodNotAllowed, Unavailable
from crewmesh_kit.identity import Public, TokenSigner
from crewmesh_kit.logs import get_logger
from crewmesh_kit.origin import ADDRESS_HEADER
from crewmesh_kit.resources import Resources
from crewmesh_kit.telemetry import trace_headers
from fastapi.dependencies.models import Dependant
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from crewmesh_gateway.principals.access import AnySignedIn, check_organization_stands
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.proxy.absences import Absences
from crewmesh_gateway.proxy.answers import AnswerCutOff, pass_back, refusal
from crewmesh_gateway.proxy.body import ClientGone, RequestBody
from crewmesh_gateway.proxy.errors import ServiceTooSlow, ServiceUnavailable, SlowBody
from crewmesh_gateway.proxy.guesses import Guesses
from crewmesh_gateway.proxy.headers import passed_in, passed_in_publicly, plain
from crewmesh_gateway.proxy.paths import Target, target_of
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS, PUBLIC_RESOURCES, check_verb, owner_of
from crewmesh_gateway.settings import ProxySettings

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = get_logger(__name__)


class Proxy:
    """One exchange: who asks, whose path it is, there and back again."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        guesses: Guesses,
        absences: Absences,
        signer: TokenSigner,
        sidecar: Sidecar,
        settings: ProxySettings,
    ) -> None:
        self._doorkeeper = doorkeeper
        self._guesses = guesses
        self._absences = absences
        self._signer = signer
        self._sidecar = sidecar
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in _METHODS:
            raise MethodNotAllowed("The API knows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.")
        target = target_of(scope["raw_path"], scope["query_string"])
        app = owner_of(target.resource)
        headers = plain(scope["headers"])
        client = scope["client"]
        peer = client[0] if client else "unknown"
        if target.resource in PUBLIC_RESOURCES:
            inwards = passed_in_publicly(headers)
            send = self._guesses.counted(send, self._doorkeeper.address(headers, peer), scope["path"])
        else:
            principal = await self._doorkeeper.admit(scope, headers, peer=peer)
            check_organization_stands(principal, scope["method"])
            inwards = passed_in(scope["method"], headers, token=self._signer.sign(principal.identity, audience=app))
            inwards[ADDRESS_HEADER] = self._doorkeeper.address(headers, peer)
        check_verb(target.resource, scope["method"])
        try:
            async with RequestBody(receive, headers) as body:
                await self._exchange(app, scope["method"], target, inwards | trace_headers(), body, send)
        except ClientGone:
            _log.debug("client left before its answer was complete", service=app)
        except AnswerCutOff:
            _log.warning("service stopped in the middle of its answer", service=app, exc_info=True)

    async def _exchange(
        self, app: str, method: str, target: Target, headers: dict[str, str], body: RequestBody, send: Send
    ) -> None:
        seconds = self._settings.first_byte_seconds
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until) as patience:
                content = await body.content()

                async def attempt() -> None:
                    if patience.when() is None:
                        patience.reschedule(until)
                    async with self._sidecar.forward(
                        app,
                        method,
                        target.path_and_query,
                        headers=headers,
                        body=content,
                        timeout=self._settings.silence_seconds,
                    ) as answer:
                        patience.reschedule(None)
                        if (refused := await refusal(app, answer)) is not None:
                            raise refused
                        self._absences.found(app)
                        await pass_back(app, answer, send, last=body.answered)

                # What streams in cannot be sent again.
                await (self._absences.ask(app, attempt) if isinstance(content, bytes | None) else attempt())
        except Exception as error:
            if body.failure is not None:
                raise body.failure from error
            if isinstance(error, TimeoutError):
                raise (ServiceTooSlow(app, seconds) if body.arrived else SlowBody(seconds)) from error
            if isinstance(error, aiohttp.ClientError) or type(error) is Unavailable:
                raise ServiceUnavailable(app) from error
            raise


class ProxyRoute(BaseRoute):
    """Everything at and below one resource of another service; or, with no resource, all that is nobody's."""

    def __init__(self, resource: str | None, resources: Resources) -> None:
        self.path = f"/v1/{resource}/{{path}}" if resource else "/v1/{resource}"  # requests are counted by this
        self._resource = resource
        self._resources = resources
        # Read at start-up, where every route has to say who may use it.
        access = Public() if resource in PUBLIC_RESOURCES else AnySignedIn()
        self.dependant = Dependant(dependencies=[Dependant(call=access)])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"]
        if scope["type"] != "http" or not path.startswith("/v1/"):
            return Match.NONE, {}
        asked = path.split("/", 3)[2]
        ours = asked == self._resource if self._resource else asked not in OWN_RESOURCES
        return (Match.FULL, {"route": self}) if ours else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._resources.get(Proxy)(scope, receive, send)


def proxy_routes(resources: Resources) -> list[BaseRoute]:
    return [ProxyRoute(resource, resources) for resource in (*OWNERS, None)]
