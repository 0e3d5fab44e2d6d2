"""A workflow definition: what starts it, its graph, and how its runs behave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.ids import Slug, VariableName
from crewmesh_contracts.workflow.graph import Graph
from crewmesh_contracts.workflow.settings import WorkflowSettings
from crewmesh_contracts.workflow.triggers.base import TRIGGER_KINDS, TriggerBase

Trigger = Annotated[TriggerBase, TRIGGER_KINDS]


class Definition(Graph):
    """What is saved, versioned and run. Whether it holds together is checked by the workflow service, all at once."""

    model_config = ConfigDict(defer_build=True)

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=200)]
    slug: Annotated[
        Slug | None, Field(description="By this name files and other workflows know it; unique in the organization.")
    ] = None
    description: Annotated[str, Field(max_length=4_000)] = ""
    triggers: Annotated[tuple[Trigger, ...], Field(max_length=20)] = ()
    env: Annotated[
        dict[VariableName, Annotated[str, Field(max_length=4_000)]],
        Field(max_length=100, description="Constants; expressions read them as env.NAME."),
    ] = {}
    settings: WorkflowSettings = WorkflowSettings()
    on_failure: Annotated[
        Graph | None, Field(description="Done when a run fails; expressions read error (node, type, detail).")
    ] = None
    layout: Annotated[JsonObject, Field(description="Where an editor shows the nodes; no meaning for runs.")] = {}
