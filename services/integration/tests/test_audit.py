"""Nothing here is changed by callers themselves: runs do it, and their record tells it. Whatever comes must be told."""

from __future__ import annotations

from crewmesh_integration.main import create_app
from crewmesh_testkit.audit_trail import changing_routes


def test_no_route_that_changes_something_is_forgotten() -> None:
    assert changing_routes(create_app()) == set()
