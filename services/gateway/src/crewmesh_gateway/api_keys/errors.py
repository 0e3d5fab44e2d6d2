"""What a caller without a good key is told: what is wrong, and where a key is found."""

from __future__ import annotations

import math

from crewmesh_kit.errors import TooManyRequests, Unauthenticated

_WHERE = (
    "Send it as Authorization: Bearer cm_… (or X-API-Key: cm_…). The first key of an installation is in "
    ".crewmesh/credentials.json of the local mesh, or in the secret first-run-api-key of the secret store."
)
_CHALLENGE = 'Bearer realm="crewmesh"'


class ApiKeyMissing(Unauthenticated):
    """No API key was sent with a request that needs one."""

    def __init__(self) -> None:
        super().__init__(f"This needs an API key. {_WHERE}", headers={"WWW-Authenticate": _CHALLENGE})


class ApiKeyInvalid(Unauthenticated):
    """The API key that was sent is unknown, expired or revoked. Which of them is not told to strangers."""

    def __init__(self) -> None:
        super().__init__(
            f"This API key is unknown, expired or revoked; use another one. {_WHERE}",
            headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )


class TooManyWrongKeys(TooManyRequests):
    """This address tried many wrong API keys and has to wait."""

    def __init__(self, wait_seconds: float) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        super().__init__(
            f"Too many wrong API keys came from your address. Wait {seconds} s and check the key. {_WHERE}",
            headers={"Retry-After": str(seconds)},
        )
