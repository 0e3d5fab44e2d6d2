"""The guide says what is true: its definitions compile, and its requests are ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from crewmesh_contracts.events import ApprovalDecided, ApprovalEscalated, ApprovalRequested
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.approval import ApprovalOutput
from crewmesh_workflow.approvals import endpoints
from crewmesh_workflow.approvals.errors import (
    AlreadyDecided,
    ApprovalClosed,
    LinkNotUsable,
    ProposalChanged,
)
from crewmesh_workflow.approvals.links import MAKE_LINKS
from crewmesh_workflow.approvals.rules import DECIDE, DECIDE_ANY
from crewmesh_workflow.approvals.schemas import ApprovalDecision, ApprovalLinkRequest
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "approvals.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_definition_compiles(text: str) -> None:
    definition = Definition.model_validate(yaml.safe_load(text))
    compile_program(definition, all_kinds())


@pytest.mark.parametrize("text", blocks("http"))
def test_every_request_is_one(text: str) -> None:
    line, body = text.split("\n", 1)
    method, path = line.split(" ")
    template = re.sub(r"apr_[0-9a-f]{32}", "{approval}", path)
    known = [(route.path, route.methods) for route in endpoints.router.routes]  # pyright: ignore
    assert (template, {method}) in known
    kind = ApprovalLinkRequest if path.endswith("/links") else ApprovalDecision
    kind.model_validate_json(body)


def test_the_output_of_an_approval_is_one() -> None:
    [text] = blocks("json")
    ApprovalOutput.model_validate_json(text, extra="forbid")


@pytest.mark.parametrize(
    "name",
    [
        *(problem.slug for problem in (AlreadyDecided, ApprovalClosed, ProposalChanged, LinkNotUsable)),
        *(event.type() for event in (ApprovalRequested, ApprovalEscalated, ApprovalDecided)),
        *(DECIDE, DECIDE_ANY, MAKE_LINKS, "approvals:read"),
    ],
)
def test_names_are_as_in_the_code(name: str) -> None:
    assert f"`{name}`" in GUIDE
