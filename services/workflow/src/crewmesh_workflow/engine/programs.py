"""Compiled programs by workflow and version. A version never changes, so a program is good for ever."""

from __future__ import annotations

from collections import OrderedDict

from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.nodes.base import NodeKinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError, Mistake
from crewmesh_workflow.program.model import Program

_DEFINITION = "SELECT definition FROM workflow_versions WHERE workflow_id = %s AND version = %s"


class Programs:
    """The most recently used programs, compiled on first use."""

    def __init__(self, database: Database, kinds: NodeKinds, *, keep: int = 500) -> None:
        self._database = database
        self._kinds = kinds
        self._keep = keep
        self._programs: OrderedDict[tuple[str, int], Program] = OrderedDict()

    async def get(self, workflow: str, version: int, conn: AsyncConnection[DictRow] | None = None) -> Program:
        """Read through ``conn`` where a transaction is open already: a second one could wait for itself."""
        key = (workflow, version)
        program = self._programs.get(key)
        if program is None:
            definition = await self._definition(key, conn)
            program = self._programs[key] = compile_program(definition, self._kinds, stored=True)
            if len(self._programs) > self._keep:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    async def _definition(self, key: tuple[str, int], conn: AsyncConnection[DictRow] | None) -> Definition:
        if conn is None:
            async with self._database.system() as own:
                return await self._definition(key, own)
        row = await (await conn.execute(_DEFINITION, key)).fetchone()
        if row is None:
            raise InvalidDefinitionError([Mistake("", f"there is no version {key[1]} of workflow {key[0]}")])
        return Definition.model_validate(row["definition"])
