"""Ids as people see them: a short prefix that names the kind, then a time-ordered UUID (version 7) in hex."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import StringConstraints

from crewmesh_contracts.patterns import HEX_ID as HEX_ID
from crewmesh_contracts.patterns import RUN, SLUG, VARIABLE, WORKFLOW

OrganizationId: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^org_{HEX_ID}$")]
RunId: TypeAlias = Annotated[str, StringConstraints(pattern=RUN)]
WorkflowId: TypeAlias = Annotated[str, StringConstraints(pattern=WORKFLOW)]

# Names that people choose and refer to by: knowledge bases, crews, nodes. No dots, so that paths stay unambiguous.
Slug: TypeAlias = Annotated[str, StringConstraints(pattern=SLUG, max_length=64)]

# Names of variables, as expressions write them: vars.total, env.BASE_URL.
VariableName: TypeAlias = Annotated[str, StringConstraints(pattern=VARIABLE, max_length=64)]
