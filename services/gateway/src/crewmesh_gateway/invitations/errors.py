"""What is told about invitations that cannot be sent or accepted as asked."""

from __future__ import annotations

import math

from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied, TooManyRequests

from crewmesh_gateway.invitations.schemas import InvitationStatus


class UnknownInvitation(NotFound):
    """There is no such invitation, or its link was replaced by a newer one."""

    def __init__(self) -> None:
        super().__init__(
            "There is no such invitation, or a newer mail replaced its link. GET /v1/invitations lists those of an "
            "organization; whoever was invited asks for another mail."
        )


class MemberAlready(Conflict):
    """Somebody with this mail address belongs to the organization already."""

    slug, title = "member-already", "Member already"

    def __init__(self, user: str) -> None:
        super().__init__("Somebody with this mail address is a member already: GET /v1/members?q=…", user=user)


class InvitationOpen(Conflict):
    """This address has an open invitation. Send that one again, or revoke it first."""

    slug, title = "invitation-open", "Invitation open"

    def __init__(self, invitation: str) -> None:
        super().__init__(
            f"This address has an open invitation. Send it again (POST /v1/invitations/{invitation}/resend), or revoke "
            "it to invite with another role.",
            invitation=invitation,
        )


class InvitationOver(Conflict):
    """The invitation was accepted by somebody, revoked, or is too old. Ask for a new one."""

    slug, title = "invitation-over", "Invitation over"

    def __init__(self, status: InvitationStatus) -> None:
        told = {"accepted": "was accepted before", "revoked": "was revoked", "expired": "has expired"}
        super().__init__(
            f"This invitation {told.get(status, 'is over')}. Ask the organization for a new one.", invitation=status
        )


class InvitationForAnother(PermissionDenied):
    """The invitation was sent to another address than the verified one of whoever is logged in."""

    slug, title = "invitation-for-another", "Invitation for another"

    def __init__(self) -> None:
        super().__init__(
            "This invitation was sent to another mail address than yours, or yours is not verified. Log in with the "
            "account of the invited address, or ask to be invited under your own."
        )


class InvitedAMomentAgo(TooManyRequests):
    """This address got an invitation mail a moment ago."""

    slug, title = "invited-a-moment-ago", "Invited a moment ago"

    def __init__(self, wait_seconds: float) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        super().__init__(
            f"An invitation went to this address a moment ago. Wait {seconds} s before the next mail.",
            headers={"Retry-After": str(seconds)},
        )


class TooManyInvitations(TooManyRequests):
    """The organization had as many invitation mails sent within an hour as it may."""

    slug, title = "too-many-invitations", "Too many invitations"

    def __init__(self, hourly: float) -> None:
        seconds = math.ceil(3600 / hourly)
        super().__init__(
            f"This organization had {hourly:g} invitation mails sent within an hour, which is the most. Wait {seconds} "
            "s for each further one.",
            headers={"Retry-After": str(seconds)},
        )


class TeamsNotYours(PermissionDenied):
    """Inviting into teams takes the permission to say who belongs to them."""

    slug, title = "more-than-you-hold", "More than you hold"

    def __init__(self) -> None:
        super().__init__(
            "Inviting into teams needs the permission teams:write. Leave teams away, or ask somebody who has it.",
            permissions=["teams:write"],
        )
