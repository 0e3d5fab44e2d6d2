"""For whom a model is asked: what it costs is written down under these names, and held against their budgets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract


class Payer(Contract):
    """The step of a run, and whoever started that.

    ``teams`` are those of whoever started the run, as they were then: they say which budgets pay, and open nothing.
    """

    workflow: Annotated[str, Field(max_length=64)] | None = None
    run: Annotated[str, Field(max_length=64)] | None = None
    step: Annotated[str, Field(max_length=1_000)] | None = None
    started_by: Annotated[str, Field(max_length=100)] | None = None
    teams: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=100)] = ()


NOBODY_IN_PARTICULAR = Payer()
