"""Where records of one kind are kept, what they are called, and what is needed to see and to change one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from crewmesh_kit.errors import Conflict, NotFound
from crewmesh_kit.sharing.models import Need

from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.schemas import Record


@dataclass(frozen=True, slots=True)
class Shelf(Generic[DefinitionT]):
    """``see`` and ``change``: of a single one, where the kind is shared one by one.

    ``adding``: what the API document says of adding one. ``reserved``: what
    stands where names do in paths, so that nothing can be called so.
    """

    noun: str
    path: str
    prefix: str
    action: str
    table: str
    history: str
    adding: str
    model: type[DefinitionT]
    record: type[Record[DefinitionT]]
    unknown: Callable[[str], NotFound]
    taken: Callable[[str], Conflict]
    see: Need | None = None
    change: Need | None = None
    reserved: tuple[str, ...] = ()

    @property
    def one(self) -> str:
        """What one of them is called in the names of operations."""
        return self.noun.replace(" ", "_")
