"""Ids as people see them: a short prefix that names the kind, then a time-ordered UUID (version 7) in hex."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import StringConstraints

HEX_ID = r"[0-9a-f]{32}"

OrganizationId: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^org_{HEX_ID}$")]
RunId: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^run_{HEX_ID}$")]
WorkflowId: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^wf_{HEX_ID}$")]

# Names that people choose and refer to by: knowledge bases, crews, nodes. No dots, so that paths stay unambiguous.
Slug: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$", max_length=64)]

# Names of variables, as expressions write them: vars.total, env.BASE_URL.
VariableName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
