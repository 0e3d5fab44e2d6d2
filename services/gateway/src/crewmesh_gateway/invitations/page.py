"""The page that a mailed link opens: what it invites to, and how to go on. Plain HTML, without any script.

Looking accepts nothing: mail programs look at every link they carry. Other people's text is escaped.
"""

from __future__ import annotations

from html import escape

from fastapi.responses import HTMLResponse

from crewmesh_gateway.invitations.schemas import InvitationShown

# Whoever has the link may read this; nobody else is told where it came from, and nobody keeps it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_OVER = {
    "expired": "This invitation has expired. Ask for another mail.",
    "accepted": "This invitation was accepted. Log in to work in the organization.",
    "revoked": "This invitation was revoked. Ask whoever invited you.",
}


def invitation_page(shown: InvitationShown) -> HTMLResponse:
    who = f"{shown.invited_by} invites you" if shown.invited_by else "You are invited"
    lines = [f"{who} to join {shown.organization}."]
    if shown.status == "open":
        lines += [
            f"The invitation is for {shown.email}, until {shown.expires_at:%d %B %Y, %H:%M} UTC.",
            "With an account: log in, then send the token of this link to POST /v1/invitations/accept.",
            "Without one: sign up with POST /v1/auth/signup, and send the token along as invitation.",
        ]
    else:
        lines.append(_OVER[shown.status])
    return _page(lines, status=200)


def unknown_page() -> HTMLResponse:
    return _page(["There is no such invitation, or a newer mail replaced this link."], status=404)


def _page(lines: list[str], *, status: int) -> HTMLResponse:
    told = "".join(f"<p>{escape(line)}</p>" for line in lines)
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Invitation</title><h1>Invitation</h1>{told}'
    return HTMLResponse(f"{html}</html>", status_code=status, headers=_HEADERS)
