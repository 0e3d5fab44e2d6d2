"""The Lua in kong/kong.yaml, run by LuaJIT as Kong runs it: what it refuses, what it lets pass, what it changes."""

from __future__ import annotations

import base64
import json
import re

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_gateway.proxy.paths import SuspiciousPath, target_of
from crewmesh_gateway.settings import Settings
from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.contract.kong_plugins import PostFunction, PreFunction
from tests.edge.configuration import service, the
from tests.edge.exchange import Answer, Exchange, Exited
from tests.edge.pdk import LuaFunctions
from tests.edge.router import normalized

FIRST = the(PreFunction).config
_lua = LuaFunctions()
CLEAN, SMALL_ENOUGH, ORIGINS_ASKED = map(_lua.compile, FIRST.access)
ORIGINS_ANSWERED, PROBLEM_HEAD = map(_lua.compile, FIRST.header_filter)
(PROBLEM_BODY,) = map(_lua.compile, FIRST.body_filter)
CREDENTIAL, TO_THE_SIDECAR = map(_lua.compile, the(PostFunction, service("api-reads").plugins).config.access)
SMALLER_STILL = _lua.compile(the(PostFunction, service("auth").plugins).config.access[0])
_, TO_THE_GATEWAY = map(_lua.compile, the(PostFunction, service("streams").plugins).config.access)


def exchange(path: str = "/v1/runs", method: str = "GET", **headers: str) -> Exchange:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange(method, path, CIMultiDict(named), {"DAPR_API_TOKEN": "t0ken"})


def refused(function: object, asked: Exchange) -> tuple[int, JsonObject] | None:
    assert callable(function)
    try:
        function(asked)
    except Exited:
        return asked.answer.status, json.loads(asked.answer.body or b"{}")
    return None


SUSPICIOUS = [
    "/v1/../internal", "/v1/runs/..", "/v1/.", "/v1/./runs", "/v1//runs", "//v1/runs", "/v1/%2e%2e/internal",
    "/v1/%2E%2E/internal", "/v1/.%2e/internal", "/v1/runs%2F..%2Fx", "/v1/runs%2f", "/v1/runs\\x", "/v1/runs%5cx",
    "/v1/%00", "/v1/x%0d%0aSet-Cookie:%20a", "/v1/%7f", "/v1/%252e", "/v1/runs;x", "/v1/runs%3bx", "/v1/runs#x",
    "/v1/runs%23", "/v1/runs%3Fx", "/v1/caf\u00e9", "/v1/\x7f", "/../../etc/passwd", "/v1/runs/..;/x",
]  # fmt: skip
HONEST = [
    "/", "/docs", "/openapi.json", "/v1/runs/run_0123/events", "/v1/crews/caf%C3%A9", "/v1/x%20y", "/v1/a.b/c..d",
    "/v1/hooks/test/abc-DEF_1~2", "/v1/workflows/x/versions/1/diff/2", "/v1/runs/run_1/steps/a[0].b@2/",
    "/.well-known/jwks.json",
]  # fmt: skip


@pytest.mark.parametrize("path", SUSPICIOUS)
def test_suspicious_paths_end_at_the_edge(path: str) -> None:
    status, problem = refused(CLEAN, exchange(path)) or (0, {})
    assert status == 400
    assert str(problem["type"]).endswith(f"/{SuspiciousPath.slug}")
    assert problem["title"] == SuspiciousPath.title


@pytest.mark.parametrize("path", HONEST)
def test_honest_paths_pass_the_edge(path: str) -> None:
    assert refused(CLEAN, exchange(path)) is None


_PIECES = st.sampled_from(
    ["/", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "#", "%00", "%25", "a", "runs", "%41", "%C3%A9", "~", "%20", "*"]
)


@settings(max_examples=400)
@given(st.lists(_PIECES, max_size=12))
def test_what_the_edge_lets_pass_has_one_reading(pieces: list[str]) -> None:
    path = "/v1/" + "".join(pieces)
    if refused(CLEAN, exchange(path)) is None:
        segments = path.split("/")
        assert normalized(path).split("/")[: len(segments) - 1][1:2] == ["v1"]
        assert len(normalized(path).split("/")) == len(segments), "a segment would come or go"


@settings(max_examples=400)
@given(st.lists(_PIECES, max_size=12))
def test_what_the_gateway_would_serve_is_not_refused_by_the_edge(pieces: list[str]) -> None:
    path = "/v1/" + "".join(pieces)
    try:
        target_of(path.encode("latin-1"), b"")
    except SuspiciousPath:
        return
    assert refused(CLEAN, exchange(path)) is None


def test_no_header_of_a_client_chooses_the_callee_or_speaks_for_the_mesh() -> None:
    sent = exchange(
        dapr_app_id="workflow",
        dapr_api_token="x",
        crewmesh_edge_token="x",
        crewmesh_client_address="10.0.0.1",
        crewmesh_authorization="Basic x",
        forwarded="for=10.0.0.1",
        x_original_url="/internal",
        x_http_method_override="DELETE",
        accept="*",
    )
    sent.headers["dapr_app_id"] = "workflow"  # the edge lets underscores in, and others may read them as dashes
    assert refused(CLEAN, sent) is None
    assert dict(sent.headers) == {"accept": "*"}


@pytest.mark.parametrize("name", ["x-{}", "accept"])
def test_a_crowd_of_headers_hides_none(name: str) -> None:
    """Kong shows the first so many; one behind them would reach the sidecar as it is."""
    sent = exchange()
    sent.headers.extend([(name.format(number), "") for number in range(1000)])
    sent.headers["dapr-app-id"] = "workflow"
    status, problem = refused(CLEAN, sent) or (0, {})
    assert status == 431
    assert str(problem["type"]).endswith("/too-many-headers")


def test_two_hundred_headers_pass() -> None:
    sent = exchange()
    sent.headers.extend([(f"x-{number}", "") for number in range(199)])
    sent.headers["dapr-app-id"] = "workflow"
    assert refused(CLEAN, sent) is None
    assert len(sent.headers) == 199


def test_basic_authentication_is_moved_to_where_it_chooses_nobody() -> None:
    sent = exchange(authorization="Basic ZGFwci1hcHAtaWQ6eA==", crewmesh_authorization="Basic of-the-client")
    assert refused(CLEAN, sent) is None
    assert dict(sent.headers) == {"crewmesh-authorization": "Basic ZGFwci1hcHAtaWQ6eA=="}


@pytest.mark.parametrize("value", ["Digest x", "", "Bearer", "basic", "Negotiate x", "cm_x"])
def test_other_authorization_stays_outside(value: str) -> None:
    sent = exchange(authorization=value)
    assert refused(CLEAN, sent) is None
    assert "authorization" not in sent.headers


def test_two_credentials_are_none() -> None:
    sent = exchange()
    sent.headers.extend([("authorization", "Bearer cm_a"), ("authorization", "Bearer cm_b")])
    assert refused(CLEAN, sent) is None
    assert "authorization" not in sent.headers


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("keep-alive", True),
        ("Upgrade", True),
        ("keep-alive, Upgrade", True),
        ("Upgrade, HTTP2-Settings", False),
        ("close, crewmesh-edge-token", False),
    ],
)
def test_a_client_cannot_have_our_tokens_dropped(sent: str, kept: bool) -> None:
    asked = exchange(connection=sent)
    assert refused(CLEAN, asked) is None
    assert ("connection" in asked.headers) == kept


@pytest.mark.parametrize("agent", ["sqlmap/1.8", "Mozilla/5.0 (compatible; Nmap Scripting Engine)", "Nuclei - Open"])
def test_scanners_are_not_let_in(agent: str) -> None:
    assert (refused(CLEAN, exchange(user_agent=agent)) or (0,))[0] == 403


@pytest.mark.parametrize(
    "agent",
    [
        "python-httpx/0.28",
        "axios/1.7",
        "Go-http-client/2.0",
        "okhttp/4.12",
        "GitHub-Hookshot/1",
        "Slackbot 1.0",
        "curl/8",
    ],
)
def test_programs_are(agent: str) -> None:
    """Kong's own bot-detection would refuse most of these: they are what calls an API."""
    assert refused(CLEAN, exchange(user_agent=agent)) is None


@pytest.mark.parametrize(("sent", "kept"), [("req-1.a:b", True), ("x" * 129, False), ('a"b', False), ("a b", False)])
def test_an_id_of_a_request_is_one_word(sent: str, kept: bool) -> None:
    asked = exchange(x_request_id=sent)
    assert refused(CLEAN, asked) is None
    assert ("x-request-id" in asked.headers) == kept


def test_a_body_is_as_large_as_the_services_take_it() -> None:
    most = Settings().http.max_body_bytes
    assert refused(SMALL_ENOUGH, exchange()) is None
    assert refused(SMALL_ENOUGH, exchange(content_length=str(most))) is None
    assert refused(SMALL_ENOUGH, exchange(transfer_encoding="chunked")) is None, "the gateway counts it"
    assert (refused(SMALL_ENOUGH, exchange(content_length=str(most + 1))) or (0,))[0] == 413


def test_logins_and_decisions_are_small_and_tell_their_length() -> None:
    assert refused(SMALLER_STILL, exchange()) is None
    assert refused(SMALLER_STILL, exchange(content_length="65536")) is None
    assert (refused(SMALLER_STILL, exchange(content_length="65537")) or (0,))[0] == 413
    assert (refused(SMALLER_STILL, exchange(transfer_encoding="chunked")) or (0,))[0] == 411


def token(head: object, *, payload: str = "e30", signature: str = "c2ln") -> str:
    text = head if isinstance(head, str) else json.dumps(head)
    return f"{base64.urlsafe_b64encode(text.encode()).rstrip(b'=').decode()}.{payload}.{signature}"


ACCESS = token({"alg": "ES256", "typ": "JWT", "kid": "key_1"})


@pytest.mark.parametrize(
    "text",
    ["cm_abcdef_" + "x" * 43, "cm_live_abcDEF123-_" + "y" * 60, ACCESS, token('{ "typ":"JWT" , "alg" : "ES256" }')],
)
def test_well_formed_credentials_are_for_the_gateway_to_judge(text: str) -> None:
    assert refused(CREDENTIAL, exchange(authorization=f"Bearer {text}")) is None
    assert refused(CREDENTIAL, exchange(authorization=f"bEARER  {text} ")) is None
    assert refused(CREDENTIAL, exchange(x_api_key=text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense", "cm_", "cm_a b", "cm_" + "x" * 300, "a.b", "a.b.c.d", "..", f"{ACCESS}.x", f"{ACCESS} x", "\u00e9",
        token({"alg": "none"}), token({"alg": "None"}), token({"alg": "HS256"}), token({"alg": "RS256"}),
        token({"alg": "es256"}), token({"typ": "JWT"}), token('{"alg":"ES256","alg":"none"}'), token("ES256"),
        token({"alg": "ES256"}, signature=""), "!!!.e30.c2ln", token({"alg": "ES256", "x": "y" * 5000}),
    ],
)  # fmt: skip
def test_malformed_credentials_and_other_algorithms_end_at_the_edge(text: str) -> None:
    sent = exchange(authorization=f"Bearer {text}")
    status, problem = refused(CREDENTIAL, sent) or (0, {})
    assert status == 401
    assert str(problem["type"]).endswith("/unauthenticated")
    assert sent.answer.headers["www-authenticate"].startswith('Bearer realm="crewmesh"')


def test_nobody_needs_a_credential_at_the_edge() -> None:
    for sent in (exchange(), exchange(authorization="Bearer "), exchange(x_api_key="")):
        assert refused(CREDENTIAL, sent) is None


def preflight(origin: str) -> Exchange:
    return exchange(method="OPTIONS", origin=origin, access_control_request_method="POST")


@pytest.mark.parametrize("configured", [None, "", "*", "https://console.example.com"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "*", "https://console.example.com.evil.example"])
def test_pages_of_strangers_are_told_no(configured: str | None, origin: str) -> None:
    lua, sent = LuaFunctions(), preflight(origin)
    asked, answered = lua.compile(FIRST.access[2]), lua.compile(FIRST.header_filter[0])
    if origin == configured:
        return
    sent.environment = {} if configured is None else {"CREWMESH_EDGE_ORIGINS": configured}
    assert (refused(asked, sent) or (0,))[0] == 403
    sent.answer = Answer(
        200, CIMultiDict({"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"})
    )
    answered(sent)
    assert [name for name in sent.answer.headers if name.lower().startswith("access-control")] == []
    assert sent.answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://console.example.com", "http://localhost:5173"])
def test_named_origins_may_bring_credentials(origin: str) -> None:
    lua, sent = LuaFunctions(), preflight(origin)
    asked, answered = lua.compile(FIRST.access[2]), lua.compile(FIRST.header_filter[0])
    sent.environment = {"CREWMESH_EDGE_ORIGINS": "https://console.example.com, http://localhost:5173"}
    assert (refused(asked, sent) or (0,))[0] == 204
    answered(sent)
    headers = sent.answer.headers
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-credentials"] == "true"
    assert {"Authorization", "X-CSRF-Token", "Idempotency-Key"} <= set(
        re.split(r", ?", headers["access-control-allow-headers"])
    )
    assert "ETag" in headers["access-control-expose-headers"]


def test_an_options_request_that_is_no_preflight_goes_on() -> None:
    assert refused(ORIGINS_ASKED, exchange(method="OPTIONS")) is None
    assert refused(ORIGINS_ASKED, exchange(method="OPTIONS", origin="https://x.example")) is None
    assert refused(ORIGINS_ASKED, exchange(origin="https://x.example", access_control_request_method="GET")) is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_browsers_are_told_to_stay_with_https_over_https_only(scheme: str) -> None:
    sent = exchange()
    sent.scheme = scheme
    ORIGINS_ANSWERED(sent)
    assert ("strict-transport-security" in sent.answer.headers) == (scheme == "https")


@pytest.mark.parametrize("status", [400, 403, 404, 408, 413, 414, 417, 429, 500, 502, 503, 504])
def test_what_kong_says_itself_becomes_a_problem_document(status: int) -> None:
    sent = exchange()
    headers = CIMultiDict({"Content-Type": "text/html", "Content-Length": "9", "Retry-After": "3"})
    sent.answer = Answer(status, headers, b"<html>no", "error")
    PROBLEM_HEAD(sent)
    PROBLEM_BODY(sent)
    assert sent.answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert "content-length" not in sent.answer.headers
    assert sent.answer.headers["retry-after"] == "3"
    problem = json.loads(sent.answer.body)
    assert (problem["status"], problem["retryable"]) == (status, status in (408, 429, 500, 502, 503, 504))
    assert len(problem["detail"]) > 20


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, CIMultiDict({"Content-Type": "text/plain"}), b"of a workflow", "service"),
        Answer(404, CIMultiDict({"Content-Type": PROBLEM_MEDIA_TYPE}), b"{}", "exit"),
        Answer(204, CIMultiDict(), b"", "exit"),
    ],
)
def test_what_is_said_well_already_stays(answer: Answer) -> None:
    sent = exchange()
    sent.answer = Answer(answer.status, CIMultiDict(answer.headers), answer.body, answer.source)
    PROBLEM_HEAD(sent)
    PROBLEM_BODY(sent)
    assert sent.answer == answer


def test_the_sidecars_token_is_added_and_without_it_nothing_is_sent() -> None:
    sent = exchange(dapr_api_token="of the client")
    assert refused(TO_THE_SIDECAR, sent) is None
    assert sent.headers["dapr-api-token"] == "t0ken"
    without = exchange()
    without.environment = {}
    status, problem = refused(TO_THE_SIDECAR, without) or (0, {})
    assert status == 503
    assert "DAPR_API_TOKEN" in str(problem["detail"])


def test_the_gateway_is_told_who_vouches_for_the_address() -> None:
    sent = exchange()
    sent.environment = {"CREWMESH_EDGE_TOKEN": "edge"}
    assert refused(TO_THE_GATEWAY, sent) is None
    assert sent.headers["crewmesh-edge-token"] == "edge"
    assert refused(TO_THE_GATEWAY, without := exchange()) is None, "then clients of streams share Kong's address"
    assert "crewmesh-edge-token" not in without.headers
