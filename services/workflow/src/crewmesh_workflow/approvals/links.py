"""Deciding by a link, once, without an account: for e-mail and chat."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import PermissionDenied
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.approvals import repository
from crewmesh_workflow.approvals.errors import ApprovalClosed, LinkNotUsable, NotAsked
from crewmesh_workflow.approvals.rules import DECIDE_ANY, may_decide
from crewmesh_workflow.approvals.schemas import Approval, ApprovalDecision, ApprovalLink, ApprovalLinkRequest
from crewmesh_workflow.approvals.service import Approvals
from crewmesh_workflow.approvals.tokens import Grant, LinkTokens

# Who may have links made in the name of others: what sends them out, for it could use them as well.
MAKE_LINKS = "approvals:links"
PATH = "/v1/approval-links"


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
        if subject != identity.subject and not (identity.allows(MAKE_LINKS) or identity.allows(DECIDE_ANY)):
            raise PermissionDenied(
                f"A link in the name of somebody else needs the permission {MAKE_LINKS}: who makes it could use it.",
                permission=MAKE_LINKS,
            )
        async with self._database.tenant(identity.organization) as conn:
            make = partial(self._make, conn, identity, approval, subject, wanted)
            return await self._idempotency.once_in(
                conn,
                identity=identity,
                scope=f"approvals/{approval}/links/{identity.subject}",
                key=key,
                request=wanted,
                work=make,
                result=ApprovalLink,
            )

    async def _make(
        self,
        conn: AsyncConnection[DictRow],
        identity: Identity,
        approval: str,
        subject: str,
        wanted: ApprovalLinkRequest,
    ) -> ApprovalLink:
        found = await self._approvals.get_in(conn, identity, approval)
        if found.status != "open":
            raise ApprovalClosed(
                f"It is {found.status}, and nothing is to be decided any more.", approval_status=found.status
            )
        # Of oneself one's own groups are known; of others, what who asks for the link says.
        groups = identity.groups if subject == identity.subject else frozenset(wanted.groups)
        group = next((each for each in sorted(groups) if each in found.assignees), None)
        grant = self._tokens.grant(
            organization=identity.organization,
            approval=approval,
            subject=subject,
            group=group,
            seconds=wanted.expires_seconds,
        )
        if not may_decide(grant.identity, found.assignees):
            raise NotAsked(wanted.for_, found.assignees)
        url = f"{self._base}{PATH}/{self._tokens.write(grant)}"
        return ApprovalLink(url=url, expires_at=datetime.fromtimestamp(grant.expires, UTC))

    async def look(self, token: str) -> Approval:
        """What is to be decided. Looking decides nothing, however often it is done."""
        grant = self._tokens.read(token)
        async with self._database.tenant(grant.organization) as conn:
            # A run is purged some day, and its questions with it.
            known = await repository.get(conn, grant.organization, grant.approval)
            if known is None or await repository.is_used(conn, grant.organization, grant.nonce):
                raise LinkNotUsable
            return await self._approvals.get_in(conn, grant.identity, grant.approval)

    async def decide(self, token: str, decision: ApprovalDecision, *, key: str | None) -> Approval:
        grant = self._tokens.read(token)
        async with self._database.tenant(grant.organization) as conn:
            # An answer that was lost on the way back is repeated to the same request, and to no other.
            return await self._idempotency.once_in(
                conn,
                identity=grant.identity,
                scope=f"approval-links/{grant.nonce}",
                key=key,
                request=decision,
                work=partial(self._use, conn, grant, decision),
                result=Approval,
            )

    async def _use(self, conn: AsyncConnection[DictRow], grant: Grant, decision: ApprovalDecision) -> Approval:
        """The link is used up with the decision, and only with it: after a mistake it works again."""
        question = await repository.lock(conn, grant.organization, grant.approval)
        if question is None or not await repository.use_link(conn, grant.organization, question.run, grant.nonce):
            raise LinkNotUsable
        return await self._approvals.decide_in(conn, grant.identity, grant.approval, decision)
