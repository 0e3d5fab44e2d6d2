"""What can be wrong with a decision."""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied, ValidationFailed


class UnknownApproval(NotFound):
    """The organization has no question to people with this id. GET /v1/approvals lists those there are."""

    slug, title = "unknown-approval", "Unknown approval"

    def __init__(self, approval: str) -> None:
        super().__init__(f"There is no approval {approval} in this organization; GET /v1/approvals lists all.")


class NotAsked(PermissionDenied):
    """Others are asked to decide this; the answer names them."""

    slug, title = "not-asked", "Not asked"

    def __init__(self, who: str, assignees: Iterable[str]) -> None:
        asked = list(assignees)
        super().__init__(
            f"{who} may not decide this, for it is asked of {', '.join(asked)}. Let one of them decide, "
            "or somebody with the permission approvals:decide-any.",
            assignees=[*asked],
        )


class ApprovalClosed(Conflict):
    """There is nothing to decide any more: it was decided, it expired, or its run does not wait for it any more."""

    slug, title = "approval-closed", "Approval closed"


class AlreadyDecided(Conflict):
    """One person says one thing, once. The answer repeats what was said."""

    slug, title = "already-decided", "Already decided"

    def __init__(self, decision: JsonObject) -> None:
        said = "yes" if decision["approved"] else "no"
        super().__init__(
            f"You have said {said} to this already ({decision['at']}), and that cannot be changed.", decision=decision
        )


class ProposalChanged(Conflict):
    """Somebody has changed what is to be approved. Read it again, and name the proposal that you agree to."""

    slug, title = "proposal-changed", "Proposal changed"

    def __init__(self, seen: int, present: int) -> None:
        super().__init__(
            f"What is to be approved is at proposal {present} by now, and you agreed to proposal {seen}. Read it "
            f"again; to agree to it as it stands send proposal: {present}.",
            proposal=present,
        )


class WrongDecision(ValidationFailed):
    """The decision is not of the kind that is asked for, or the data in it do not fit; errors lists every mistake."""

    slug, title = "wrong-decision", "Wrong decision"

    def __init__(self, mistakes: Iterable[tuple[str, str]]) -> None:
        told = list(mistakes)
        errors: list[JsonValue] = [{"path": path, "message": message} for path, message in told]
        more = f" and {len(told) - 1} more" if len(told) > 1 else ""
        first = ": ".join(told[0])
        super().__init__(f"{first}{more}. Correct what errors lists.", errors=errors)


class LinkNotUsable(NotFound):
    """The link to a decision is wrong, has expired, or was used before: it is not said which."""

    slug, title = "link-not-usable", "Approval link not usable"

    def __init__(self) -> None:
        super().__init__(
            "This link is wrong, has expired, or was used already. Ask for a new one, or decide in Crewmesh itself."
        )
