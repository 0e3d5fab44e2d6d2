"""What a caller without a good key or access token is told: what is wrong, and where one is found."""

from __future__ import annotations

import math

from crewmesh_kit.errors import TooManyRequests, Unauthenticated

_WHERE = (
    "Send an API key as Authorization: Bearer cm_live_… (or X-API-Key: cm_live_…), or the access token that "
    "POST /v1/auth/login gives you. The first key of an installation is in .crewmesh/credentials.json of the local "
    "mesh, or in the secret first-run-api-key of the secret store."
)
_CHALLENGE = 'Bearer realm="crewmesh"'


class CredentialMissing(Unauthenticated):
    """No API key or access token was sent with a request that needs one."""

    def __init__(self) -> None:
        super().__init__(
            f"This needs an API key or an access token. {_WHERE}", headers={"WWW-Authenticate": _CHALLENGE}
        )


class CredentialInvalid(Unauthenticated):
    """The API key or access token is unknown, expired or revoked. Which of them is not told to strangers."""

    def __init__(self) -> None:
        super().__init__(
            f"This API key or access token is unknown, expired or revoked; use another one. {_WHERE}",
            headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )


class KeyMistyped(Unauthenticated):
    """What was sent begins like an API key and is none: it is mistyped or was cut off. Copy it again, whole."""

    slug, title = "api-key-mistyped", "API key mistyped"

    def __init__(self) -> None:
        super().__init__(
            "This API key is mistyped or was cut off: its checksum is wrong. A key is cm_live_, twelve characters, "
            "an underscore and 49 characters; copy it again, whole.",
            headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )


class TooManyWrongKeys(TooManyRequests):
    """This address tried many wrong keys and tokens and has to wait."""

    def __init__(self, wait_seconds: float) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        super().__init__(
            f"Too many wrong API keys came from your address. Wait {seconds} s and check the key. {_WHERE}",
            headers={"Retry-After": str(seconds)},
        )
