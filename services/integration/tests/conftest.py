"""One database per test module; the tests in it are kept apart as tenants are, each by an organization of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def database(database_url: Callable[[str], str]) -> str:
    return database_url("integration")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many ask at once on a slow machine the last waits long for a connection; nothing is judged by that."""
    monkeypatch.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 60.0)
