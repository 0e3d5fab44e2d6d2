"""What somebody is told who wants in, or wants to change how they get in.

None of it tells whether an address has an account.
"""

from __future__ import annotations

import math

from crewmesh_kit.errors import (
    Conflict,
    InvalidRequest,
    PermissionDenied,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)


class LoginRefused(Unauthenticated):
    """Address and password do not belong together, or the address is not proved yet; then its mail came again."""

    slug, title = "login-refused", "Login refused"

    def __init__(self) -> None:
        super().__init__(
            "Address and password do not belong together, or the address is not verified yet. Check both; look into "
            "your mails; or choose a new password: POST /v1/auth/password/forgot."
        )


class CodeRefused(Unauthenticated):
    """The code of the second factor is wrong, was used before, or came too late."""

    slug, title = "code-refused", "Code refused"

    def __init__(self) -> None:
        super().__init__(
            "This code is wrong, was used before, or came too late. Wait for the next code of your app, or use a "
            "recovery code; after five wrong ones or some minutes log in anew: POST /v1/auth/login."
        )


class NotWhoSignedUp(PermissionDenied):
    """The link is good, and the password is not the one that was chosen when signing up with this link."""

    slug, title = "not-who-signed-up", "Not who signed up"

    def __init__(self) -> None:
        super().__init__(
            "This is not the password that was chosen when signing up with this link. If it was not you who signed up, "
            "do so now, and follow the link of the newest mail: POST /v1/auth/signup."
        )


class TooManyAttempts(TooManyRequests):
    """Too many attempts failed, here or for this account. Those who failed have to wait."""

    slug, title = "too-many-attempts", "Too many attempts"

    def __init__(self, wait_seconds: float) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        super().__init__(
            f"There were too many attempts. Wait {seconds} s. If you do not know the password, choose a new one: "
            "POST /v1/auth/password/forgot.",
            headers={"Retry-After": str(seconds)},
        )


class PasswordsBusy(Unavailable):
    """More people log in right now than passwords can be checked. Try again in a moment."""

    slug, title = "passwords-busy", "Passwords busy"

    def __init__(self) -> None:
        super().__init__("Many people log in right now. Try again in a moment.", headers={"Retry-After": "2"})


class LinkExpired(InvalidRequest):
    """The token of a mailed link was used before, is too old, or was replaced by a newer one."""

    slug, title = "link-expired", "Link expired"

    def __init__(self, again: str) -> None:
        super().__init__(f"This link was used before, is too old, or a newer one was sent. Have one sent: {again}.")


class AddressTaken(Conflict):
    """There is an account with this address by now, proved by whoever has it."""

    slug, title = "address-taken", "Address taken"

    def __init__(self) -> None:
        super().__init__("There is an account with this address by now. Log in: POST /v1/auth/login.")


class SignupClosed(PermissionDenied):
    """This installation lets nobody sign up, or only who was invited."""

    slug, title = "signup-closed", "Sign-up closed"

    def __init__(self, *, invited: bool) -> None:
        super().__init__(
            "Here one can only sign up with an invitation. Ask a member for one, and send its token as invitation."
            if invited
            else "Nobody can sign up here. Ask whoever runs this installation."
        )


class PasswordWrong(PermissionDenied):
    """The current password, which this change needs, is wrong."""

    slug, title = "password-wrong", "Password wrong"

    def __init__(self) -> None:
        super().__init__("The current password is wrong. If you do not know it: POST /v1/auth/password/forgot.")


class LoginExists(Conflict):
    """The person has an address and a password already."""

    slug, title = "login-exists", "Login exists"

    def __init__(self) -> None:
        super().__init__("This person has a login already. Change its password: PUT /v1/me/password.")


class NotTheOwnersKey(PermissionDenied):
    """Only a key that may do everything its owner may can give that owner a login."""

    slug, title = "not-the-owners-key", "Not the owner's key"

    def __init__(self) -> None:
        super().__init__("This is for the first owner of an installation: send the API key of the first run.")
