"""What starts runs; one file per kind, found as nodes are."""

from __future__ import annotations

from pydantic import ConfigDict

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.workflow.registry import Kinds


class TriggerBase(Contract):
    """``id`` keeps a trigger what it is from version to version: its URL, its place in time."""

    model_config = ConfigDict(defer_build=True)

    id: Slug | None = None


TRIGGER_KINDS: Kinds[TriggerBase] = Kinds(f"{__package__}", lambda: TriggerBase)
