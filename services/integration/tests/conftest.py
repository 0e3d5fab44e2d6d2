"""One database per test module; the tests in it are kept apart as tenants are, each by an organization of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="module")
def database(database_url: Callable[[str], str]) -> str:
    return database_url("integration")
