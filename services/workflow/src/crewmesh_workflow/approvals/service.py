"""Deciding: one transaction in which the vote is counted, and, when it was the last that was needed, the run goes on.

The row of the question is locked first. So of any number of people who decide in the same moment, each finds what the
one before has left, and there is one verdict.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import ApprovalDecided
from crewmesh_kit import audit
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import ANSWER_QUESTIONS, SEE_QUESTIONS
from crewmesh_workflow.approvals import repository
from crewmesh_workflow.approvals.errors import (
    AlreadyDecided,
    ApprovalClosed,
    NotAsked,
    ProposalChanged,
    UnknownApproval,
)
from crewmesh_workflow.approvals.repository import Question
from crewmesh_workflow.approvals.rules import (
    Kind,
    Proposal,
    Said,
    Verdict,
    Vote,
    arrival,
    is_change,
    may_decide,
    names_of,
    own_vote,
    present_proposal,
    repeats,
    verdict_of_outcome,
    verdict_of_votes,
    voter_of,
)
from crewmesh_workflow.approvals.schemas import Approval, ApprovalDecision, ApprovalSummary, StatusFilter
from crewmesh_workflow.approvals.views import approval_of, summary_of, vote_json
from crewmesh_workflow.approvals.votes import read_decision, replaces
from crewmesh_workflow.definitions.lookup import id_in_filter
from crewmesh_workflow.engine.places import node_at
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.program.errors import InvalidDefinitionError
from crewmesh_workflow.program.model import CompiledNode


class Arrivals(Protocol):
    """How a waiting step is told what came for it (engine.control)."""

    async def arrive(self, conn: AsyncConnection[DictRow], run: str, path: str, data: JsonObject) -> bool:
        """In the caller's transaction; False when nothing waits there."""
        ...


class Approvals:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        sharing: Sharing,
        *,
        arrivals: Arrivals,
        programs: Programs,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing
        self._arrivals = arrivals
        self._programs = programs

    async def page(
        self,
        identity: Identity,
        page: PageRequest,
        *,
        status: StatusFilter,
        kind: Kind | None,
        run: str | None,
        workflow: str | None,
        mine: bool,
    ) -> Page[ApprovalSummary]:
        after = page.after_text()
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.page(
                conn,
                identity.organization,
                await self._sharing.reach(conn, identity, SEE_QUESTIONS),
                asked=names_of(identity),
                before=after,
                status=status,
                kind=kind,
                run=run,
                workflow=await id_in_filter(conn, identity.organization, workflow),
                names=names_of(identity) if mine else None,
                limit=page.limit + 1,
            )
        return page.page([summary_of(question) for question in found], lambda approval: (approval.id,))

    async def get(self, identity: Identity, approval: str) -> Approval:
        async with self._database.tenant(identity.organization) as conn:
            await self.ensure_seen(conn, identity, approval, SEE_QUESTIONS)
            return await self.get_in(conn, identity, approval)

    async def ensure_seen(self, conn: AsyncConnection[DictRow], identity: Identity, approval: str, need: Need) -> None:
        """Whom it asks by name sees a question, whatever else of its workflow is hidden."""
        if (await self._sharing.reach(conn, identity, need)).everything:
            return
        question = await repository.get(conn, identity.organization, approval)
        unknown = UnknownApproval(approval)
        if question is None:
            raise unknown
        if set(names_of(identity)).isdisjoint(question.assignees):
            await self._sharing.ensure(conn, identity, need, question.workflow, unknown=unknown)

    async def get_in(self, conn: AsyncConnection[DictRow], identity: Identity, approval: str) -> Approval:
        question = await repository.get(conn, identity.organization, approval)
        if question is None:
            raise UnknownApproval(approval)
        return approval_of(question, await repository.votes(conn, identity.organization, approval), identity)

    async def decide(
        self, identity: Identity, approval: str, decision: ApprovalDecision, *, key: str | None
    ) -> Approval:
        async with self._database.tenant(identity.organization) as conn:
            await self.ensure_seen(conn, identity, approval, ANSWER_QUESTIONS)

            async def decide() -> Approval:
                return await self.decide_in(conn, identity, approval, decision)

            # The key is the caller's own: two people who happen to choose the same one are two votes.
            scope = f"approvals/{approval}/{identity.subject}"
            return await self._idempotency.once_in(
                conn, identity=identity, scope=scope, key=key, request=decision, work=decide, result=Approval
            )

    async def decide_in(
        self, conn: AsyncConnection[DictRow], identity: Identity, approval: str, decision: ApprovalDecision
    ) -> Approval:
        """Count one person's word, in the caller's transaction."""
        question = await repository.lock(conn, identity.organization, approval)
        if question is None:
            raise UnknownApproval(approval)
        if not may_decide(identity, question.assignees):
            raise NotAsked(voter_of(identity), question.assignees)
        votes = await repository.votes(conn, identity.organization, approval)
        action = await self._action(conn, question) if replaces(question, decision) else None
        said = read_decision(question, decision, action)
        if not was_said(identity, question, votes, said):
            _check_may_be_said(identity, question, votes, said)
            await self._count(conn, identity, question, votes, said)
        return await self.get_in(conn, identity, approval)

    async def _action(self, conn: AsyncConnection[DictRow], question: Question) -> CompiledNode | None:
        """What the question is about, in the version that its run is of."""
        try:
            program = await self._programs.get(question.workflow, question.workflow_version, conn)
        except InvalidDefinitionError:
            return None  # whoever drives the run will say so
        return node_at(program, question.path)

    async def _count(
        self, conn: AsyncConnection[DictRow], identity: Identity, question: Question, votes: list[Vote], said: Said
    ) -> None:
        proposal = _proposal_after(question, votes, said)
        vote = Vote(voter_of(identity), proposal.number, said.approved, said.comment, said.data)
        await repository.add_vote(conn, identity.organization, question, vote)
        counted = [*votes, vote]
        verdict = _verdict(question, counted, proposal, said)
        await _record(conn, identity, question, said, verdict)
        if verdict is None:
            return
        told = arrival(question.kind, proposal, counted, verdict)
        if not await self._arrivals.arrive(conn, question.run, question.path, told):
            raise _closed(replace(question, status="cancelled"))
        await repository.decided(conn, identity.organization, question.id, verdict)
        await outbox.add(conn, _decided(identity, question, verdict))


async def _record(
    conn: AsyncConnection[DictRow], identity: Identity, question: Question, said: Said, verdict: Verdict | None
) -> None:
    """For the audit log: whose word it was, and what came of it. What was filled in is in the run."""
    told: JsonObject = {
        "run": question.run,
        "kind": question.kind,
        "approved": said.approved,
        "proposal": said.proposal,
        "verdict": verdict,
    }
    await audit.record(conn, identity, "approval.decided", question.id, after=told)


def was_said(identity: Identity, question: Question, votes: list[Vote], said: Said) -> bool:
    """Whether the same was counted before."""
    present = present_proposal(question.original, votes)
    own = own_vote(votes, identity, present.number)
    return own is not None and repeats(own, said)


def _check_may_be_said(identity: Identity, question: Question, votes: list[Vote], said: Said) -> None:
    if question.status != "open":
        raise _closed(question)
    present = present_proposal(question.original, votes)
    own = own_vote(votes, identity, present.number)
    if own is not None:
        raise AlreadyDecided(vote_json(own))
    if question.kind == "approval" and said.approved and said.proposal != present.number:
        raise ProposalChanged(said.proposal, present.number)


def _proposal_after(question: Question, votes: list[Vote], said: Said) -> Proposal:
    present = present_proposal(question.original, votes)
    if question.kind == "approval" and is_change(said, present):
        return Proposal(present.number + 1, said.data)
    return present


def _verdict(question: Question, votes: list[Vote], proposal: Proposal, said: Said) -> Verdict | None:
    if question.kind == "input":
        return "answered"
    if question.kind == "outcome":
        return verdict_of_outcome(said)
    return verdict_of_votes(votes, proposal=proposal.number, quorum=question.quorum)


def _closed(question: Question) -> ApprovalClosed:
    why = {
        "decided": f"It was decided at {question.decided_at}: {question.verdict}.",
        "expired": f"It expired at {question.until}.",
    }
    ended = f"Its run {question.run} does not wait for it any more."
    return ApprovalClosed(
        f"{why.get(question.status, ended)} Nothing is to be decided; GET /v1/runs/{question.run} tells how it goes.",
        approval_status=question.status,
        verdict=question.verdict,
    )


def _decided(identity: Identity, question: Question, verdict: Verdict) -> ApprovalDecided:
    return ApprovalDecided(
        organization=identity.organization,
        run=question.run,
        workflow=question.workflow,
        workflow_version=question.workflow_version,
        approval=question.id,
        kind=question.kind,
        title=question.title,
        verdict=verdict,
        by=voter_of(identity),
    )
