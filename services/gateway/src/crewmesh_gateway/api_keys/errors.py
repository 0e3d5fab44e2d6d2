"""What a caller without a good key or access token is told, and where one is found; what is told about keys."""

from __future__ import annotations

import math
from collections.abc import Iterable

from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied, TooManyRequests, Unauthenticated

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


class UnknownApiKey(NotFound):
    """There is no API key with this id in the organization."""

    def __init__(self, key: str) -> None:
        super().__init__(f"There is no API key {key!r} here. GET /v1/api-keys lists those there are.")


class KeyShownBefore(Conflict):
    """The key was made by an earlier request with this Idempotency-Key, whose answer alone showed its secret.

    If that answer was lost, revoke or rotate the key that ``key_id`` names; rotating shows a new one.
    """

    slug, title = "api-key-shown-before", "API key was shown before"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"An earlier request with this Idempotency-Key made the API key {key}, and its answer alone showed the "
            f"secret, which is not stored. If you do not have it: POST /v1/api-keys/{key}/rotate with another "
            f"Idempotency-Key shows a new one, DELETE /v1/api-keys/{key} revokes it.",
            key_id=key,
        )


class KeyEnded(Conflict):
    """The key has expired, was revoked, or was rotated already, so that nothing can follow it. Create a new one."""

    slug, title = "api-key-ended", "API key has ended"

    def __init__(self, status: str) -> None:
        how = "was rotated already and is about to end" if status == "ending" else f"is {status}"
        super().__init__(
            f"This API key {how}, so it cannot be rotated. Rotate its successor (GET /v1/api-keys shows whose "
            "rotated_from it is), or create a new key: POST /v1/api-keys.",
        )


class SomebodyElsesKey(PermissionDenied):
    """A key that acts for another member is shown to nobody else. That member can rotate it; you can revoke it."""

    slug, title = "somebody-elses-key", "Somebody else's key"

    def __init__(self, user: str) -> None:
        super().__init__(
            f"This API key acts for {user}, who alone can rotate it. You can revoke it: DELETE /v1/api-keys/…; what "
            "belongs to nobody in particular should use a service account's key.",
            user=user,
        )


class NotForItsOwner(PermissionDenied):
    """The key would be for more than whoever it acts for may do. The answer names what is missing."""

    slug, title = "scopes-beyond-owner", "Scopes beyond the owner"

    def __init__(self, account: str, role: str, missing: Iterable[str]) -> None:
        names = sorted(missing)
        super().__init__(
            f"The service account {account} has the role {role}, which does not allow {', '.join(names)}. Leave these "
            "scopes away, or give the service account another role.",
            permissions=[*names],
        )


class NoMember(PermissionDenied):
    """Whoever asks stopped being a member of the organization a moment ago."""

    def __init__(self) -> None:
        super().__init__("You are not a member of this organization any more, so no key can act for you in it.")
