"""From the fields of a page that was sent to a decision."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.errors import InvalidRequest

from crewmesh_workflow.approvals.errors import WrongDecision
from crewmesh_workflow.approvals.fields import fields_of, filled_in, from_text
from crewmesh_workflow.approvals.rules import same
from crewmesh_workflow.approvals.schemas import Approval, ApprovalDecision

FORM_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
_LONGEST_COMMENT = 4_000


def posted_fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise InvalidRequest("The form cannot be read: it is not UTF-8, or has too many fields.") from error
    return dict(pairs)


def posted_decision(approval: Approval, posted: Mapping[str, str]) -> ApprovalDecision:
    """WrongDecision when something in it cannot be read."""
    comment = posted.get("comment", "").replace("\r\n", "\n").strip() or None
    if comment is not None and len(comment) > _LONGEST_COMMENT:
        raise WrongDecision([("comment", f"is longer than {_LONGEST_COMMENT} characters")])
    if approval.kind == "approval":
        return _yes_or_no(approval, posted, comment)
    if approval.kind == "input":
        fields = fields_of(approval.form or {})
        answer = _json(posted, "data") if fields is None else filled_in(fields, posted)
        return ApprovalDecision(data=answer, comment=comment) if comment else ApprovalDecision(data=answer)
    return _outcome(posted, comment)


def _yes_or_no(approval: Approval, posted: Mapping[str, str], comment: str | None) -> ApprovalDecision:
    decision = posted.get("decision")
    if decision not in ("approve", "reject"):
        raise WrongDecision([("decision", "choose whether to approve or to reject")])
    if decision == "reject":
        return ApprovalDecision(approved=False, comment=comment)
    seen = posted.get("proposal", "1")
    proposal = int(seen) if seen.isascii() and seen.isdigit() and 0 < len(seen) < 6 else 1
    data = _json(posted, "data") if posted.get("data", "").strip() else None
    if data is None or same(data, approval.data):
        return ApprovalDecision(approved=True, comment=comment, proposal=max(proposal, 1))
    return ApprovalDecision(approved=True, comment=comment, data=data, proposal=max(proposal, 1))


def _outcome(posted: Mapping[str, str], comment: str | None) -> ApprovalDecision:
    decision = posted.get("decision")
    if decision == "fail":
        return ApprovalDecision(fail=True, comment=comment)
    if decision == "not_happened":
        return ApprovalDecision(happened=False, comment=comment)
    if decision != "happened":
        raise WrongDecision([("decision", "choose what came of the step")])
    output = _json(posted, "output") if posted.get("output", "").strip() else {}
    if not isinstance(output, dict):
        raise WrongDecision([("output", 'must be a JSON object: {"name": value}')])
    return ApprovalDecision(happened=True, output=output, comment=comment)


def _json(posted: Mapping[str, str], name: str) -> JsonValue:
    try:
        return from_text(posted.get(name, ""))
    except (ValueError, RecursionError) as error:
        raise WrongDecision([(name, f"is not JSON: {error}")]) from error
