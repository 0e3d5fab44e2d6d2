"""Deciding by a link, once, without an account: for e-mail and chat."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import PermissionDenied
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import ANSWER_QUESTIONS
from crewmesh_workflow.approvals import repository
from crewmesh_workflow.approvals.errors import ApprovalClosed, LinkNotUsable, NotAsked, WrongDecision
from crewmesh_workflow.approvals.repository import Question
from crewmesh_workflow.approvals.rules import DECIDE_ANY, may_decide, voter_of
from crewmesh_workflow.approvals.schemas import Approval, ApprovalDecision, ApprovalLink, ApprovalLinkRequest
from crewmesh_workflow.approvals.service import Approvals, was_said
from crewmesh_workflow.approvals.tokens import Grant, LinkTokens
from crewmesh_workflow.approvals.votes import read_decision

# Who may have links made in the name of others: what sends them out, for it could use them as well.
MAKE_LINKS = "approvals:links"
PATH = "/v1/approval-links"
# A double click, or a request that was repeated because its answer was lost on the way.
_REPEAT_SECONDS = 60.0


class _Made(Reply):
    """What is kept of a link, so that asking again gives the same one. Without our key it is none."""

    group: str | None
    expires: int
    nonce: str


class Links:
    def __init__(
        self, database: Database, idempotency: Idempotency, approvals: Approvals, tokens: LinkTokens, *, base_url: str
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._approvals = approvals
        self._tokens = tokens
        self._base = base_url.rstrip("/")

    async def create(
        self, identity: Identity, approval: str, wanted: ApprovalLinkRequest, *, key: str | None
    ) -> ApprovalLink:
        subject = wanted.for_.removeprefix("user:")
        if subject == identity.subject:
            subject = voter_of(identity)  # a link that a key has made for itself is its owner's word
        if subject != voter_of(identity) and not (identity.allows(MAKE_LINKS) or identity.allows(DECIDE_ANY)):
            raise PermissionDenied(
                f"A link in the name of somebody else needs the permission {MAKE_LINKS}: who makes it could use it.",
                permission=MAKE_LINKS,
            )
        async with self._database.tenant(identity.organization) as conn:
            await self._approvals.ensure_seen(conn, identity, approval, ANSWER_QUESTIONS)
            make = partial(self._make, conn, identity, approval, subject, wanted)
            made = await self._idempotency.once_in(
                conn,
                identity=identity,
                scope=f"approvals/{approval}/links/{identity.subject}",
                key=key,
                request=wanted,
                work=make,
                result=_Made,
            )
        grant = Grant(identity.organization, approval, subject, made.group, made.expires, made.nonce)
        return ApprovalLink(url=f"{self._base}{PATH}/{self._tokens.write(grant)}", expires_at=_moment(made.expires))

    async def _make(
        self,
        conn: AsyncConnection[DictRow],
        identity: Identity,
        approval: str,
        subject: str,
        wanted: ApprovalLinkRequest,
    ) -> _Made:
        found = await self._approvals.get_in(conn, identity, approval)
        if found.status != "open":
            raise ApprovalClosed(
                f"It is {found.status}, and nothing is to be decided any more.", approval_status=found.status
            )
        # Of oneself one's own groups are known; of others, what who asks for the link says.
        own = identity.groups | identity.group_names
        groups = own if subject == voter_of(identity) else frozenset(wanted.groups)
        group = next((each for each in sorted(groups) if each in found.assignees), None)
        grant = self._tokens.grant(
            organization=identity.organization,
            approval=approval,
            subject=subject,
            group=group,
            seconds=wanted.expires_seconds,
        )
        if not may_decide(grant.identity, found.assignees):
            raise NotAsked(f"user:{subject}", found.assignees)
        told: JsonObject = {"for": f"user:{subject}", "group": group, "expires_at": _moment(grant.expires).isoformat()}
        await audit.record(conn, identity, "approval.link-created", approval, after=told)
        return _Made(group=group, expires=grant.expires, nonce=grant.nonce)

    async def look(self, token: str) -> Approval:
        """What is to be decided. Looking decides nothing, however often it is done."""
        return await self._look(self._tokens.read(token), used_before_seconds=0)

    async def look_again(self, token: str) -> Approval:
        """The same for who sends a decision, which may be the one that has just used the link up."""
        return await self._look(self._tokens.read(token), used_before_seconds=_REPEAT_SECONDS)

    async def decide(self, token: str, decision: ApprovalDecision) -> Approval:
        """Decide, once. Sending the same again right away, as after a lost answer, gets the same answer."""
        grant = self._tokens.read(token)
        async with self._database.tenant(grant.organization) as conn:
            # The link is used up with the decision, and only with it: after a mistake it works again.
            question = await repository.lock(conn, grant.organization, grant.approval)
            if question is None:
                raise LinkNotUsable
            if await repository.use_link(conn, grant.organization, question.run, grant.nonce):
                return await self._approvals.decide_in(conn, grant.identity, grant.approval, decision)
            return await self._repeat(conn, grant, question, decision)

    async def _look(self, grant: Grant, *, used_before_seconds: float) -> Approval:
        async with self._database.tenant(grant.organization) as conn:
            # A run is purged some day, and its questions with it.
            known = await repository.get(conn, grant.organization, grant.approval)
            if known is None or await repository.is_used(conn, grant.organization, grant.nonce, used_before_seconds):
                raise LinkNotUsable
            return await self._approvals.get_in(conn, grant.identity, grant.approval)

    async def _repeat(
        self, conn: AsyncConnection[DictRow], grant: Grant, question: Question, decision: ApprovalDecision
    ) -> Approval:
        if await repository.is_used(conn, grant.organization, grant.nonce, _REPEAT_SECONDS):
            raise LinkNotUsable
        votes = await repository.votes(conn, grant.organization, grant.approval)
        try:
            said = read_decision(question, decision)
        except WrongDecision as problem:
            raise LinkNotUsable from problem
        if not was_said(grant.identity, question, votes, said):
            raise LinkNotUsable
        return await self._approvals.get_in(conn, grant.identity, grant.approval)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
