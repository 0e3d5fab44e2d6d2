"""Paths that could be read in two ways do not pass; all honest ones do."""

from __future__ import annotations

import re

import pytest
from crewmesh_gateway.proxy.paths import SuspiciousPath, target_of
from crewmesh_gateway.proxy.routing import OWNERS, UnknownResource, owner_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs",
        "/v1/runs/",
        "/v1/runs/run_0123456789abcdef/events",
        "/v1/knowledge-bases/handbook",
        "/v1/knowledge-bases/hand%20book",
        "/v1/crews/caf%C3%A9:run",
        "/v1/workflows/a.b..c",
    ],
)
def test_honest_paths_pass_as_they_are(path: str) -> None:
    assert target_of(path.encode(), b"a=1&b=%2F..").path_and_query == f"{path}?a=1&b=%2F.."


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/../internal",
        "/v1/../internal/kickoff",
        "/v1/..",
        "/v1/./runs",
        "/v1/runs/..",
        "/v1/runs/.../x",
        "/v1//runs",
        "/v1/runs//x",
        "/v1/runs///",
        "//v1/runs",
        "/v1/runs%2F..%2F..%2Finternal",
        "/v1/runs%2f..",
        "/v1/%2e%2e/internal",
        "/v1/%2E./internal",
        "/v1/runs/.%2e/x",
        "/v1/runs/%252e%252e/x",
        "/v1/runs#/../x",
        "/v1/runs%23x",
        "/v1/runs%3Fx=1",
        "/v1/runs\\..\\x",
        "/v1/runs%5C..%5Cx",
        "/v1/runs/%00",
        "/v1/runs/%0d%0aX-A:b",
        "/v1/runs/\x00",
        "/v1/runs;a=b/x",
        "/v1/runs%3Bx",
        "/v1/runs/%7f",
        "/v1/runs/%",
        "/v1/runs/%zz",
        "/v1/runs/ä",
        "/v1",
        "/v1/",
        "/internal/search",
        "/v2/runs",
        "/v1/" + "x" * 9000,
    ],
)
def test_suspicious_paths_are_refused(path: str) -> None:
    with pytest.raises(SuspiciousPath):
        target_of(path.encode("latin-1"), b"")


@pytest.mark.parametrize("query", [b"a=\x00", b"a=#", b"a=\\", b"a b", b"\xff", b"a=\r\nX: y"])
def test_suspicious_queries_are_refused(query: bytes) -> None:
    with pytest.raises(SuspiciousPath):
        target_of(b"/v1/runs", query)


@given(st.text(alphabet="/.%25eEfFcC#\\;?ab\x00", max_size=30))
def test_whatever_passes_stays_below_its_resource(tail: str) -> None:
    try:
        target = target_of(b"/v1/runs/" + tail.encode(), b"")
    except SuspiciousPath:
        return
    decoded = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), target.path_and_query)
    assert target.resource == "runs"
    assert not set(decoded) & set("\\#;?\x00%")
    assert all(segment.strip(".") for segment in decoded.split("/")[1:-1])
    assert decoded.split("/")[-1] == "" or decoded.split("/")[-1].strip(".")


def test_every_resource_has_one_owner_and_others_are_told_what_there_is() -> None:
    assert owner_of("runs") == "workflow"
    with pytest.raises(UnknownResource) as refused:
        owner_of("nothing")
    assert all(f"/v1/{resource}" in refused.value.detail for resource in [*OWNERS, "me"])
