"""The mails that accounts cause, in plain words.

What goes to an address that is not proved yet says nothing that a stranger wrote: no name, no greeting, nothing that
could make our mail carry their message.
"""

from __future__ import annotations

from urllib.parse import quote

from crewmesh_gateway.mail.models import Mail
from crewmesh_gateway.settings import Settings

_SIGNATURE = "\n\n-- \nCrewmesh"


class Letters:
    def __init__(self, settings: Settings) -> None:
        self._base = settings.links_url
        self._verify_hours = settings.accounts.verify_hours
        self._reset_minutes = settings.accounts.reset_minutes

    def verify(self, to: str, token: str) -> Mail:
        return self._mail(
            to,
            "Verify your address",
            "Somebody, hopefully you, gave this address to sign up at Crewmesh. Open this page to go on:\n\n"
            f"{self._link('verify-email', token)}\n\n"
            f"It works once, within {_duration(self._verify_hours * 60)}. To verify by program, send the token\n\n"
            f"{token}\n\nand the password that you chose, as token and password, to POST "
            f"{self._base}/v1/auth/verify-email.\n\n"
            "If it was not you, do nothing: without this step there is no account.",
        )

    def have_account(self, to: str) -> Mail:
        return self._mail(
            to,
            "You already have an account",
            "Somebody, hopefully you, wanted to sign up at Crewmesh with this address. It has an account already: log "
            f"in at {self._base}, or choose a new password with POST {self._base}/v1/auth/password/forgot.\n\n"
            "If it was not you, do nothing: nothing has changed.",
        )

    def reset(self, to: str, name: str, token: str) -> Mail:
        return self._mail(
            to,
            "Choose a new password",
            f"Hello {name},\n\nsomebody, hopefully you, asked for a new password. Choose it here:\n\n"
            f"{self._link('password-reset', token)}\n\n"
            f"It works once, within {_duration(self._reset_minutes)}. To do it by program, send the token\n\n"
            f"{token}\n\nand the new password, as token and password, to POST "
            f"{self._base}/v1/auth/password/reset.\n\n"
            "If it was not you, do nothing: your password stays as it is.",
        )

    def password_changed(self, to: str, name: str) -> Mail:
        return self._mail(
            to,
            "Your password was changed",
            f"Hello {name},\n\nthe password of your account was changed, and other logins were ended. If it was not "
            f"you, choose a new one at once: POST {self._base}/v1/auth/password/forgot.",
        )

    def second_factor(self, to: str, name: str, *, on: bool) -> Mail:
        state = "on" if on else "off"
        return self._mail(
            to,
            f"Your second factor was turned {state}",
            f"Hello {name},\n\nthe second factor of your account was turned {state}. If it was not you, choose a new "
            f"password at once: POST {self._base}/v1/auth/password/forgot.",
        )

    def _link(self, place: str, token: str) -> str:
        return f"{self._base}/v1/auth/pages/{place}?token={quote(token, safe='')}"

    def _mail(self, to: str, subject: str, text: str) -> Mail:
        return Mail(to, subject, text + _SIGNATURE)


def _duration(minutes: float) -> str:
    if minutes >= 120:
        return f"{minutes / 60:g} hours"
    return "1 minute" if minutes == 1 else f"{minutes:g} minutes"
