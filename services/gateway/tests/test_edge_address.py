"""Whom the gateway believes about where a request came from."""

from __future__ import annotations

from typing import cast

import pytest
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.service import Principals

PEER, TOLD = "198.51.100.1", "203.0.113.9"


def doorkeeper(*, app: str = "app", edge: str = "edge") -> Doorkeeper:
    return Doorkeeper(cast("Principals", None), cast("Gate", None), app_api_token=app, edge_token=edge)


@pytest.mark.parametrize("proof", [{"dapr-api-token": "app"}, {"crewmesh-edge-token": "edge"}])
def test_the_sidecar_and_the_edge_may_say_it(proof: dict[str, str]) -> None:
    assert doorkeeper().address({"x-real-ip": TOLD, **proof}, PEER) == TOLD
    assert doorkeeper().address(proof, PEER) == PEER
    assert doorkeeper().address({"x-real-ip": "nobody", **proof}, PEER) == PEER


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"dapr-api-token": ""},
        {"dapr-api-token": "edge"},
        {"crewmesh-edge-token": "app"},
        {"crewmesh-edge-token": "edge, edge"},
        {"x-forwarded-for": TOLD},
    ],
)
def test_nobody_else_may(proof: dict[str, str]) -> None:
    assert doorkeeper().address({"x-real-ip": TOLD, **proof}, PEER) == PEER


@pytest.mark.parametrize("header", ["dapr-api-token", "crewmesh-edge-token"])
def test_a_token_that_is_not_set_opens_nothing(header: str) -> None:
    nobody = doorkeeper(app="", edge="")
    assert nobody.address({"x-real-ip": TOLD, header: ""}, PEER) == PEER
