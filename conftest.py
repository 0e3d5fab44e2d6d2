"""The fixtures of the testkit, for every test of the repository, and how they are shared out among processes.

``make test`` runs with ``-n 2``. A process gets whole files, in the order in which they are named, and those that need
the whole mesh come last and stay in one: they share it, and break it.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["crewmesh_testkit.fixtures"]

_OF_THE_MESH = ("tests/mesh/", "tests/edge/", "tests/faults/")


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "mesh" if file.startswith(_OF_THE_MESH) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)
