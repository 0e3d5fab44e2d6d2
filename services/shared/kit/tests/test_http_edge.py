"""Every failure leaves as a problem document; access is declared, or nothing starts."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, ClassVar, Literal, cast

import httpx2
import psycopg
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Service, provided
from crewmesh_kit.errors import NotFound, TooManyRequests, Unavailable
from crewmesh_kit.http.access import UndeclaredAccess
from crewmesh_kit.identity import Identity, public, requires
from crewmesh_kit.settings import DaprSettings, HttpServerSettings, ServiceSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, auth_headers, identity
from crewmesh_testkit.services import running
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

MOST_BYTES = 2048
SIDECAR = {"dapr-api-token": APP_API_TOKEN}


def reader() -> dict[str, str]:
    return auth_headers(identity("things:read"), audience="knowledge")


class Part(BaseModel):
    size: int


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    parts: list[Part] = []
    version: int | Literal["draft", "latest"] = "latest"
    notes: Annotated[str, Field(max_length=3)] | list[Part] = ""


class Shelf:
    label = "upper"


async def plain(_: Request) -> JSONResponse:
    return JSONResponse({})


async def talk(socket: WebSocket) -> None:
    await socket.accept()


async def numbered(number: int | Literal["last"] | None = None) -> None:
    raise NotFound(str(number))


def things() -> APIRouter:
    router = APIRouter(prefix="/v1/things")
    nested = APIRouter(prefix="/{thing}/parts")
    router.get("/numbered", dependencies=[public()])(numbered)

    @router.get("/shelf", dependencies=[public()])
    async def shelf(shelf: Annotated[Shelf, provided(Shelf)]) -> str:
        return shelf.label

    @router.get("/limited", dependencies=[public()])
    async def limited() -> None:
        raise TooManyRequests("Wait.", headers={"Retry-After": "7"}, limit=3)

    @router.get("/broken", dependencies=[public()])
    async def broken() -> None:
        raise RuntimeError("the password is sesame")

    @router.get("/no-database", dependencies=[public()])
    async def no_database() -> None:
        raise psycopg.OperationalError("connection to 10.0.0.1 refused")

    @router.get("/links/{link}/{end}", dependencies=[public()])
    async def fail(link: str, end: str) -> None:
        raise RuntimeError(end) if end == "broken" else Unavailable("The database is away.")

    @router.get("/{thing}")
    async def read(thing: str, who: Annotated[Identity, requires("things:read")], size: int = 1) -> Thing:
        if thing == "none":
            raise NotFound("There is no thing none.")
        return Thing(name=f"{thing} of {who.organization}", parts=[Part(size=size)])

    @router.post("")
    async def create(thing: Thing, _: Annotated[Identity, requires("things:read")]) -> Thing:
        return thing

    @nested.delete("/{part}", dependencies=[public()])
    async def delete_part(thing: str, part: str) -> str:
        return thing + part

    _ = (shelf, limited, broken, fail, no_database, read, create, delete_part)
    router.include_router(nested)
    return router


def service(*, edge: bool = False, routers: tuple[APIRouter, ...] = ()) -> Service:
    settings = ServiceSettings(
        http=HttpServerSettings(max_body_bytes=MOST_BYTES), dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN))
    )
    made = Service("knowledge", settings, title="Things", version="1.2.3", sidecar=FakeSidecar("knowledge"), edge=edge)
    made.resources.add(Shelf())
    made.routes(*routers or (things(),))
    return made


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with running(service().app) as client:
        yield client


def problem(answer: httpx2.Response, status: int, slug: str) -> JsonObject:
    """The document, after checking what holds for every one of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = cast(JsonObject, answer.json())
    assert document["type"] == f"https://crewmesh.dev/problems/{slug}"
    assert document["status"] == status
    assert document["instance"] == answer.request.url.path
    assert re.fullmatch(r"[0-9a-f]{32}", str(document["trace_id"]))
    assert document["detail"]
    return document


@pytest.mark.parametrize(("end", "status"), [("broken", 500), ("away", 503)])
async def test_no_log_keeps_a_secret_that_stands_in_a_path(
    client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str], end: str, status: int
) -> None:
    """Such as the address of a webhook, or a link to a decision."""
    secret = "AaF9hK0mQxT3vZb1-cD2eRfGy4uIoP5lNsWjX6tYq8k_"
    answer = await client.get(f"/v1/things/links/{secret}/{end}", headers=SIDECAR)
    assert answer.status_code == status
    written = capsys.readouterr().out
    assert f"/v1/things/links/•••/{end}" in written
    assert secret not in written


class TestAccess:
    async def test_nobody_gets_in_without_the_sidecars_token(self, client: httpx2.AsyncClient) -> None:
        bearer = {"authorization": reader()["authorization"]}
        for headers in (bearer, {**bearer, "dapr-api-token": "wrong"}, {**bearer, "dapr-api-token": ""}):
            problem(await client.get("/v1/things/a", headers=headers), 401, "unauthenticated")
        problem(await client.get("/dapr/subscribe"), 401, "unauthenticated")

    async def test_nobody_gets_in_without_an_identity(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/things/a", headers=SIDECAR)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        for value in ("Bearer", "Bearer ", "Basic abc", "Bearer a.b.c"):
            problem(
                await client.get("/v1/things/a", headers={**SIDECAR, "authorization": value}), 401, "unauthenticated"
            )

    async def test_a_token_for_another_service_is_refused(self, client: httpx2.AsyncClient) -> None:
        headers = auth_headers(identity("things:read"), audience="workflow")
        problem(await client.get("/v1/things/a", headers=headers), 401, "unauthenticated")

    async def test_a_missing_permission_is_named(self, client: httpx2.AsyncClient) -> None:
        headers = auth_headers(identity("other:read"), audience="knowledge")
        document = problem(await client.get("/v1/things/a", headers=headers), 403, "permission-denied")
        assert document["permission"] == "things:read"
        assert "things:read" in str(document["detail"])

    async def test_who_is_asking_reaches_the_handler(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/things/a", headers=reader())
        assert answer.json()["name"] == f"a of {identity().organization}"

    async def test_what_the_service_holds_reaches_the_handler(self, client: httpx2.AsyncClient) -> None:
        assert (await client.get("/v1/things/shelf", headers=SIDECAR)).json() == "upper"

    @pytest.mark.parametrize("path", ["/v1/open", "/internal/open", "/open", "/v2/open", "/v1x", "/{path:path}"])
    async def test_a_route_that_says_nothing_about_access_keeps_the_service_down(self, path: str) -> None:
        router = APIRouter()
        router.add_api_route(path, lambda: "x", methods=["POST"])
        with pytest.raises(UndeclaredAccess, match=re.escape(f"POST {path}")):
            async with running(service(routers=(router,)).app):
                pass

    @pytest.mark.parametrize(
        "route",
        [
            Mount("/static", app=JSONResponse({})),
            Mount("", app=JSONResponse({})),
            Route("/plain", plain),
            WebSocketRoute("/v1/socket", talk),
        ],
    )
    async def test_so_does_what_is_no_route_of_the_framework(self, route: BaseRoute) -> None:
        app = service().app
        app.router.routes.append(route)
        with pytest.raises(UndeclaredAccess):
            async with running(app):
                pass

    async def test_and_a_websocket_of_a_router(self) -> None:
        router = APIRouter()
        router.add_api_websocket_route("/v1/talk", talk)
        with pytest.raises(UndeclaredAccess, match="/v1/talk"):
            async with running(service(routers=(router,)).app):
                pass

    async def test_access_may_be_declared_by_the_router(self) -> None:
        router = APIRouter(dependencies=[requires("things:read")])
        router.add_api_route("/v1/all", lambda: "x")
        async with running(service(routers=(router,)).app) as client:
            problem(await client.get("/v1/all", headers=SIDECAR), 401, "unauthenticated")
            assert (await client.get("/v1/all", headers=reader())).status_code == 200


class TestEdge:
    async def test_public_paths_are_open_and_others_do_not_exist(self) -> None:
        async with running(service(edge=True).app) as client:
            problem(await client.get("/v1/things/a"), 401, "unauthenticated")
            assert (await client.get("/v1/things/shelf")).status_code == 200
            for path in ("/internal/openapi.json", "/dapr/subscribe", "/events/x", "/v1", "//v1/things/shelf"):
                problem(await client.get(f"http://service.test{path}"), 404, "not-found")
            assert (await client.get("/internal/openapi.json", headers=SIDECAR)).status_code == 200


class TestBadRequests:
    async def post(
        self, client: httpx2.AsyncClient, body: bytes | AsyncIterator[bytes], media_type: str = "application/json"
    ) -> httpx2.Response:
        return await client.post("/v1/things", content=body, headers={**reader(), "content-type": media_type})

    async def test_a_good_one_passes(self, client: httpx2.AsyncClient) -> None:
        answer = await self.post(client, b'{"name": "a"}')
        assert answer.json() == {"name": "a", "parts": [], "version": "latest", "notes": ""}

    @pytest.mark.parametrize("body", [b"{", b"nope", b'{"name": "a",}', b"{'name': 1}"])
    async def test_malformed_json(self, client: httpx2.AsyncClient, body: bytes) -> None:
        problem(await self.post(client, body), 400, "malformed-json")

    @pytest.mark.parametrize("body", [b"\xff\xfe", b'{"name": "\xe9"}', b"[" * 2000])
    async def test_bytes_that_cannot_be_json(self, client: httpx2.AsyncClient, body: bytes) -> None:
        document = problem(await self.post(client, body), 400, "malformed-json")
        assert "JSON" in str(document["detail"])

    async def test_a_misshapen_body_is_told_place_by_place(self, client: httpx2.AsyncClient) -> None:
        body = {"name": 1, "parts": [{"size": 1}, {"size": "sesame"}], "colour": "red"}
        document = problem(await self.post(client, json.dumps(body).encode()), 422, "validation-failed")
        errors = {str(error["path"]): error["message"] for error in cast("list[JsonObject]", document["errors"])}
        assert set(errors) == {"body.name", "body.parts[1].size", "body.colour"}
        assert "sesame" not in json.dumps(document)

    MISSHAPEN: ClassVar[list[tuple[JsonObject, dict[str, str]]]] = [
        ({"version": "newest"}, {"body.version": "it should be a whole number, 'draft' or 'latest'"}),
        ({"version": []}, {"body.version": "it should be a whole number, 'draft' or 'latest'"}),
        ({"notes": 5}, {"body.notes": "it should be a text or a list"}),
        ({"notes": "long"}, {"body.notes": "it should have at most 3 characters"}),
        ({"notes": [{"size": []}]}, {"body.notes[0].size": "it should be a whole number"}),
        ({"parts": [5]}, {"body.parts[0]": "it should be an object"}),
        ({"str": 5}, {"body.str": "there is no such field here; remove it, or correct its name"}),
    ]

    @pytest.mark.parametrize(("wrong", "errors"), MISSHAPEN)
    async def test_one_mistake_for_each_place_in_words_of_json(
        self, client: httpx2.AsyncClient, wrong: JsonObject, errors: dict[str, str]
    ) -> None:
        answer = await self.post(client, json.dumps({"name": "a", **wrong}).encode())
        document = problem(answer, 422, "validation-failed")
        told = cast("list[JsonObject]", document["errors"])
        assert {str(error["path"]): error["message"] for error in told} == errors
        assert len(told) == len(errors)

    async def test_a_parameter_of_a_wrong_type(self, client: httpx2.AsyncClient) -> None:
        document = problem(await client.get("/v1/things/numbered?number=x", headers=reader()), 400, "invalid-request")
        assert document["errors"] == [{"path": "query.number", "message": "it should be a whole number or 'last'"}]

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"7"])
    async def test_a_body_of_another_kind(self, client: httpx2.AsyncClient, body: bytes) -> None:
        problem(await self.post(client, body), 422, "validation-failed")

    @pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
    async def test_another_media_type(self, client: httpx2.AsyncClient, media_type: str) -> None:
        answer = await self.post(client, b'{"name": "a"}', media_type)
        problem(answer, 415, "unsupported-media-type")

    async def test_json_by_a_longer_name(self, client: httpx2.AsyncClient) -> None:
        for media_type in ("application/json; charset=utf-8", "application/cloudevents+json"):
            answer = await self.post(client, b'{"name": "a"}', media_type)
            assert answer.status_code == 200

    async def test_a_wrong_parameter_is_an_invalid_request(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/things/a?size=big", headers=reader())
        document = problem(answer, 400, "invalid-request")
        assert cast("list[JsonObject]", document["errors"])[0]["path"] == "query.size"

    async def test_a_body_that_says_it_is_too_large(self, client: httpx2.AsyncClient) -> None:
        problem(await self.post(client, b"x" * (MOST_BYTES + 1)), 413, "payload-too-large")

    async def test_a_body_that_grows_too_large(self, client: httpx2.AsyncClient) -> None:
        async def growing() -> AsyncIterator[bytes]:
            for _ in range(MOST_BYTES):
                yield b"xx"

        problem(await self.post(client, growing()), 413, "payload-too-large")

    async def test_a_body_of_just_the_size_is_read(self, client: httpx2.AsyncClient) -> None:
        problem(await self.post(client, b"x" * MOST_BYTES), 400, "malformed-json")


class TestFailures:
    async def test_an_unknown_path(self, client: httpx2.AsyncClient) -> None:
        for path in ("/v2/things", "/v1/things/a/b/c", "/v1/things/"):
            problem(await client.get(path, headers=reader()), 404, "not-found")

    async def test_a_wrong_method(self, client: httpx2.AsyncClient) -> None:
        answer = await client.put("/v1/things", headers=reader())
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "POST"

    async def test_a_problem_of_ours(self, client: httpx2.AsyncClient) -> None:
        problem(await client.get("/v1/things/none", headers=reader()), 404, "not-found")
        limited = await client.get("/v1/things/limited", headers=SIDECAR)
        document = problem(limited, 429, "too-many-requests")
        assert (limited.headers["retry-after"], document["limit"], document["retryable"]) == ("7", 3, True)

    async def test_the_unforeseen_tells_nothing_of_its_inside(self, client: httpx2.AsyncClient) -> None:
        document = problem(await client.get("/v1/things/broken", headers=SIDECAR), 500, "internal-error")
        assert "sesame" not in json.dumps(document)
        assert "Traceback" not in json.dumps(document)

    async def test_a_lost_database_is_told_as_one(self, client: httpx2.AsyncClient) -> None:
        document = problem(await client.get("/v1/things/no-database", headers=SIDECAR), 503, "unavailable")
        assert document["retryable"] is True
        assert "10.0.0.1" not in json.dumps(document)

    async def test_the_callers_trace_is_continued(self, client: httpx2.AsyncClient) -> None:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {**reader(), "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        document = problem(await client.get("/v1/things/none", headers=headers), 404, "not-found")
        assert document["trace_id"] == trace_id

    @pytest.mark.parametrize("traceparent", ["", "00", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é"])
    async def test_a_broken_trace_header_does_no_harm(self, client: httpx2.AsyncClient, traceparent: str) -> None:
        headers = httpx2.Headers({**reader(), "traceparent": traceparent}, encoding="utf-8")
        problem(await client.get("/v1/things/none", headers=headers), 404, "not-found")


class TestAbout:
    async def test_probes_need_no_token(self, client: httpx2.AsyncClient) -> None:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        version = (await client.get("/version")).json()
        assert (version["app"], version["version"]) == ("knowledge", "1.2.3")

    async def test_requests_are_counted_by_route_template(self, client: httpx2.AsyncClient) -> None:
        await client.get("/v1/things/one", headers=reader())
        await client.get("/v1/things/two", headers=reader())
        await client.delete("/v1/things/one/parts/two", headers=SIDECAR)
        await client.get("/v9", headers=SIDECAR)
        text = (await client.get("/metrics")).text
        assert re.search(r'requests_total\{method="GET",route="/v1/things/\{thing\}",status="200"\} [0-9.]+', text)
        assert 'method="DELETE",route="/v1/things/{thing}/parts/{part}",status="200"' in text
        assert 'route="unmatched",status="404"' in text
        assert "/v1/things/one" not in text
        assert 'crewmesh_http_request_seconds_bucket{le="0.005",method="GET",route="/v1/things/{thing}"}' in text
        assert "process_resident_memory_bytes" in text

    async def test_readiness_tells_why_not(self) -> None:
        made = service()
        reasons = iter(["not yet", None])

        async def warming(_: object) -> str | None:
            return next(reasons)

        made.ready_check("cache", warming)
        async with running(made.app) as client:
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, {"cache": "not yet"})
            assert (await client.get("/readyz")).status_code == 200
            answer = await client.get("/readyz")
            assert answer.json()["reasons"]["cache"].startswith("RuntimeError")

    async def test_openapi_shows_the_public_part_as_it_answers(self, client: httpx2.AsyncClient) -> None:
        document = (await client.get("/internal/openapi.json", headers=SIDECAR)).json()
        assert all(path.startswith("/v1/") for path in document["paths"])
        read = document["paths"]["/v1/things/{thing}"]["get"]
        assert set(read["responses"]) == {"200", "400", "401", "403", "404", "429", "default"}
        assert read["x-permission"] == "things:read"
        assert "things:read" in read["description"]
        assert "security" not in read
        assert document["security"] == [{"bearer": []}]
        assert document["paths"]["/v1/things/shelf"]["get"]["security"] == []
        assert set(document["components"]["schemas"]) == {"Part", "Thing", "Problem"}
