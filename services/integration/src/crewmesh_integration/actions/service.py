"""Find the connection and the action, and let it do its work."""

from __future__ import annotations

from collections.abc import Mapping

from crewmesh_contracts.invocations import ActionRequest, ActionResult
from crewmesh_kit.identity import Identity

from crewmesh_integration.actions.connections import Connection
from crewmesh_integration.actions.errors import UnknownAction, UnknownConnection


class Actions:
    def __init__(self, connections: Mapping[str, Connection]) -> None:
        self._connections = connections

    async def run(self, identity: Identity, key: str, request: ActionRequest) -> ActionResult:
        """The action's result; the same key gets the same one."""
        connection = self._connections.get(request.connection)
        if connection is None:
            raise UnknownConnection(request.connection, self._connections)
        action = connection.get(request.action)
        if action is None:
            raise UnknownAction(request.connection, request.action, connection)
        return ActionResult(result=await action.run(identity, key, request.inputs, request.timeout_seconds))
