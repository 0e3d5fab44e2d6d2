"""The whole public description, tried with values made from it, as each role: what is answered is what is described.

Nothing may break (5xx), and whatever comes back must be of a described status, kind and shape. The organization that
this happens in is its own, so that what is made and deleted there is in nobody's way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import requests
import schemathesis
from crewmesh_contracts import permissions
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.people import signed_up
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import not_a_server_error  # pyright: ignore[reportUnknownVariableType]  half annotated
from schemathesis.specs.openapi import checks

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reference/openapi.json"
_ROLES = ("admin", "editor", "viewer")
_SECONDS = 180
# Whoever is tried would lock itself out for the rest: by a list of addresses that it does not come from.
# The second has no end.
_NOT_TRIED = ("PUT /v1/limits/allowlist", "GET /v1/agents/statuses/events")
_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
_CONFORMANCE = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
_CHECKS: list[Any] = [not_a_server_error, *(getattr(checks, name) for name in _CONFORMANCE)]


class Case(Protocol):
    """What is used of schemathesis' own, whose annotations are incomplete."""

    def call(self, *, base_url: str, session: requests.Session, timeout: float) -> object: ...
    def validate_response(self, response: object, *, checks: Sequence[object]) -> None: ...


def _cases() -> dict[str, SearchStrategy[Case]]:
    """How values for each operation are made."""
    schema: Any = schemathesis.openapi.from_dict(cast("dict[str, Any]", json.loads(_DOCUMENT.read_text())))
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]
    return {f"{each.method.upper()} {each.path}": each.as_strategy() for each in operations}


CASES = _cases()


@pytest.fixture(scope="module")
def sessions(mesh: MeshProcess) -> Iterator[Mapping[str, requests.Session]]:
    """A client for each role."""
    opened: dict[str, requests.Session] = {}
    for role, credential in asyncio.run(_credentials(mesh)).items():
        opened[role] = requests.Session()
        opened[role].headers["authorization"] = f"Bearer {credential}"
        # One that was kept might be closed by the other side at the moment at which it is used again.
        opened[role].headers["connection"] = "close"
    yield opened
    for session in opened.values():
        session.close()


async def _credentials(mesh: MeshProcess) -> dict[str, str]:
    person = await signed_up(mesh, "fuzz@example.org", organization="Tried")
    async with MeshClient(mesh.credentials.api_url, person.access_token) as client:

        async def made(path: str, wanted: JsonDict) -> JsonDict:
            answer = await client.post(path, wanted)
            assert answer.status == 201, answer.body
            return answer.body

        keys = {"owner": (await made("/v1/api-keys", {"name": "fuzz", "scopes": sorted(permissions.BY_NAME)}))["key"]}
        for role in _ROLES:
            account = await made("/v1/service-accounts", {"name": f"fuzz {role}", "role": role})
            key = {"name": "fuzz", "service_account": account["id"], "scopes": sorted(permissions.of_role(role))}
            keys[role] = (await made("/v1/api-keys", key))["key"]
    return keys


@pytest.mark.parametrize("operation", [each for each in CASES if each not in _NOT_TRIED])
def test_what_is_answered_is_what_is_described(
    operation: str, mesh: MeshProcess, sessions: Mapping[str, requests.Session]
) -> None:
    @given(case=CASES[operation])
    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=_SLOW)
    def as_everybody(case: Case) -> None:
        for session in sessions.values():
            answer = case.call(base_url=mesh.credentials.api_url, session=session, timeout=_SECONDS)
            case.validate_response(answer, checks=_CHECKS)

    as_everybody()
