"""The mail that an invitation is."""

from __future__ import annotations

from urllib.parse import quote

from crewmesh_gateway.invitations.schemas import Invitation
from crewmesh_gateway.invitations.tokens import LinkToken
from crewmesh_gateway.mail.models import Mail
from crewmesh_gateway.settings import Settings


class InvitationLetters:
    def __init__(self, settings: Settings) -> None:
        self._base = settings.links_url

    def invitation(self, invitation: Invitation, token: LinkToken, *, organization: str, sender: str | None) -> Mail:
        """The names are other people's text: they stand in the body alone, as they are."""
        until = f"{invitation.expires_at:%d %B %Y, %H:%M} UTC"
        who = f"{sender} invites you" if sender else "You are invited"
        return Mail(
            invitation.email,
            "You are invited to an organization",
            f"{who} to join this organization on Crewmesh:\n\n    {organization}\n\n"
            f"Open this page until {until}:\n\n"
            f"{self._base}/v1/invitations/accept?token={quote(token.text, safe='')}\n\n"
            f"The invitation is for {invitation.email} alone. Whoever has no account with this address yet makes one "
            f"first. To accept by program, send the token\n\n{token.text}\n\n"
            f"to POST {self._base}/v1/invitations/accept when you are logged in, or as invitation to "
            f"POST {self._base}/v1/auth/signup.\n\n"
            "If you did not expect this, do nothing.\n\n-- \nCrewmesh",
        )
