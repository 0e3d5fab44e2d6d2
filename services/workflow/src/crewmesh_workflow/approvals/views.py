"""From rows to what callers see."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity

from crewmesh_workflow.approvals.repository import Question
from crewmesh_workflow.approvals.rules import Vote, may_decide, present_proposal
from crewmesh_workflow.approvals.schemas import Approval, ApprovalSummary, DecisionMade


def summary_of(question: Question) -> ApprovalSummary:
    return ApprovalSummary(
        id=question.id,
        kind=question.kind,
        status=question.status,
        verdict=question.verdict,
        title=question.title,
        run=question.run,
        workflow=question.workflow,
        workflow_version=question.workflow_version,
        path=question.path,
        assignees=question.assignees,
        quorum=question.quorum,
        created_at=question.created_at,
        until=question.until,
        decided_at=question.decided_at,
    )


def approval_of(question: Question, votes: Sequence[Vote], identity: Identity) -> Approval:
    proposal = present_proposal(question.original, votes)
    return Approval(
        **dict(summary_of(question)),
        details=question.details,
        data=proposal.data,
        proposal=proposal.number,
        form=question.form,
        about=question.about,
        decisions=tuple(decision_of(vote, present=proposal.number) for vote in votes),
        escalated=question.escalated,
        may_decide=question.status == "open" and may_decide(identity, question.assignees),
    )


def decision_of(vote: Vote, *, present: int) -> DecisionMade:
    if vote.at is None:
        raise ValueError("a vote that was not counted yet cannot be shown")
    return DecisionMade(
        by=vote.by,
        approved=vote.approved,
        comment=vote.comment,
        proposal=vote.proposal,
        data=vote.data,
        void=vote.approved and vote.proposal < present,
        at=vote.at,
    )


def vote_json(vote: Vote) -> JsonObject:
    return decision_of(vote, present=vote.proposal).model_dump(mode="json")
