"""How Crewmesh is tested: real processes for the edges we own, faithful fakes for those we do not."""

from crewmesh_testkit.fake_sidecar import Call, FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, ORGANIZATION, OTHER_ORGANIZATION, auth_headers, identity
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.servers import PostgresServer, ServerProcess
from crewmesh_testkit.services import running

__all__ = [
    "APP_API_TOKEN",
    "ORGANIZATION",
    "OTHER_ORGANIZATION",
    "Call",
    "FakeSidecar",
    "PostgresServer",
    "ServerProcess",
    "auth_headers",
    "free_port",
    "identity",
    "running",
]
