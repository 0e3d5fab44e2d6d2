"""The fixtures of the testkit, for every test of the repository, and how they are shared out among processes.

Hypothesis tries the same examples everywhere and takes its time, as by itself where it knows that it is in a CI: what
was tried before a change is tried after it, on however slow a machine.

``make test`` runs with ``-n 2``. A process gets whole files, in the order in which they are named. Two kinds stay in
one process: those that need the whole mesh, which come last, for they share it and break it; and the gateway's, which
are judged together in the end.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["crewmesh_testkit.fixtures"]

settings.load_profile("ci")

_TOGETHER = {"tests/mesh/": "mesh", "tests/edge/": "mesh", "tests/faults/": "mesh", "services/gateway/": "gateway"}


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for folder, name in _TOGETHER.items() if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)
