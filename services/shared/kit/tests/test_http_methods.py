"""A method that a path does not take: the answer names all that it takes, whichever routes they are."""

from __future__ import annotations

from crewmesh_kit.identity import public
from crewmesh_testkit.services import running
from fastapi import APIRouter

from services.shared.kit.tests.test_http_edge import SIDECAR, problem, service


async def part_of(part: str) -> str:
    return part


def parts() -> APIRouter:
    router = APIRouter(prefix="/v1/parts", dependencies=[public()])
    router.delete("/{part}")(part_of)
    nested = APIRouter(prefix="/{part}")
    nested.get("")(part_of)
    nested.patch("")(part_of)
    router.include_router(nested)
    return router


async def test_every_method_that_the_path_takes_is_told() -> None:
    async with running(service(routers=(parts(),)).app) as client:
        answer = await client.post("/v1/parts/b", headers=SIDECAR)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, PATCH"
