"""Makes guessing of links slow, as it is with keys. They cannot be guessed; trying costs the database something."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.invitations.errors import UnknownInvitation
from crewmesh_gateway.proxy.errors import TooManyGuesses
from crewmesh_gateway.settings import ThrottleSettings


class Guessing:
    def __init__(self, settings: ThrottleSettings) -> None:
        self._throttle = WrongKeyThrottle(settings, refusal=TooManyGuesses)

    @contextmanager
    def by(self, address: str) -> Generator[None]:
        """Refuses an address that tried too many wrong links; notices when this is another one."""
        self._throttle.admit(address)
        try:
            yield
        except UnknownInvitation:
            self._throttle.failed(address)
            raise
