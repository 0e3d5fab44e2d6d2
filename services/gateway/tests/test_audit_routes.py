"""What is said of routes that leave no line is said of routes that there are."""

from __future__ import annotations

from crewmesh_testkit.audit_trail import changing_routes
from fastapi import FastAPI

from .told import WITHOUT_A_LINE


def test_only_routes_that_there_are_need_no_line(app: FastAPI) -> None:
    assert WITHOUT_A_LINE.keys() <= changing_routes(app)
