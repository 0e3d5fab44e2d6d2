"""What somebody is told who turns the second factor on or off."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, PermissionDenied


class CodeWrong(PermissionDenied):
    """The code is wrong or was used before."""

    slug, title = "code-wrong", "Code wrong"

    def __init__(self) -> None:
        super().__init__("This code is wrong or was used before. Wait for the next code of your app and send that.")


class SecondFactorOn(Conflict):
    """The second factor is on already."""

    slug, title = "second-factor-on", "Second factor is on"

    def __init__(self) -> None:
        super().__init__("Your second factor is on. To use another app turn it off first: DELETE /v1/me/second-factor.")


class SecondFactorOff(Conflict):
    """The second factor is off, or was not begun."""

    slug, title = "second-factor-off", "Second factor is off"

    def __init__(self) -> None:
        super().__init__("Your second factor is off. Begin with POST /v1/me/second-factor.")
