"""Whether a request to a webhook comes from who it should, and which delivery it is.

``hmac`` is Standard Webhooks: id, time and body are signed, so an old request cannot be sent again as a new one.
``github`` signs the body alone. ``basic`` and ``header`` carry the secret itself. All comparisons take constant time,
and for a day after a rotation two secrets hold.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from crewmesh_kit.http.headers import BASIC_AUTHORIZATION

from crewmesh_workflow.hooks.errors import HookUnauthenticated

USER = "hook"
SECRET_HEADERS = ("x-hook-secret", "x-gitlab-token")
PROOFS = (*SECRET_HEADERS, "authorization", "webhook-signature", "x-hub-signature", "x-hub-signature-256")
TOLERANCE_SECONDS = 300

_SIGNATURE = "v1,"
_GITHUB = "sha256="
# What senders name their deliveries by; the last is set by the edge when there is none.
_DELIVERY_HEADERS = ("webhook-id", "x-github-delivery", "idempotency-key")


def shown_secret(auth: str, secret: bytes) -> str | None:
    """The secret as people enter it at the sender."""
    if auth == "none":
        return None
    if auth == "hmac":
        return "whsec_" + base64.b64encode(secret).decode()
    return _text(secret)


def check(auth: str, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], *, now: float) -> None:
    """Raises HookUnauthenticated unless one of the secrets proves the request. ``headers`` by lower-case name."""
    if auth == "hmac":
        _check_signed(headers, body, secrets, now)
    elif auth == "github":
        _check_github(headers, body, secrets)
    elif auth == "basic":
        _check_basic(headers, secrets)
    elif auth == "header":
        given = next((headers[name] for name in SECRET_HEADERS if name in headers), "")
        if not any(_same(given, _text(secret)) for secret in secrets):
            raise HookUnauthenticated("header", f"Send the secret in the header {SECRET_HEADERS[0]}.")


def delivery(auth: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """What makes two requests the same delivery; nothing: each is one of its own."""
    if auth == "hmac":
        return f"webhook-id:{headers['webhook-id']}"
    if auth == "github" and "x-github-delivery" not in headers:
        return f"body:{hashlib.sha256(body).hexdigest()}"
    return next((f"{name}:{headers[name]}" for name in _DELIVERY_HEADERS if headers.get(name)), None)


def _check_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: float) -> None:
    id_, time, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (id_ and given and time.isascii() and time.isdigit() and len(time) < 20):
        raise HookUnauthenticated(
            "hmac", "Sign the request: webhook-id, webhook-timestamp and webhook-signature are needed."
        )
    if abs(now - int(time)) > TOLERANCE_SECONDS:
        raise HookUnauthenticated(
            "hmac",
            f"webhook-timestamp is more than {TOLERANCE_SECONDS} s away from our clock; set the sender's clock right.",
        )
    content = f"{id_}.{time}.".encode() + body
    signatures = [_decoded(part[len(_SIGNATURE) :]) for part in given.split() if part.startswith(_SIGNATURE)]
    expected = [hmac.new(secret, content, hashlib.sha256).digest() for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in expected for other in signatures):
        raise HookUnauthenticated("hmac", "webhook-signature is not the one of this webhook's secret for this body.")


def _check_github(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> None:
    given = headers.get("x-hub-signature-256", "")
    expected = [_GITHUB + hmac.new(_text(secret).encode(), body, hashlib.sha256).hexdigest() for secret in secrets]
    if not any(_same(given, one) for one in expected):
        raise HookUnauthenticated(
            "github", "x-hub-signature-256 is not the one of this webhook's secret for this body."
        )


def _check_basic(headers: Mapping[str, str], secrets: Sequence[bytes]) -> None:
    scheme, _, encoded = (headers.get(BASIC_AUTHORIZATION) or headers.get("authorization", "")).partition(" ")
    given = _decoded(encoded.strip()) if scheme.lower() == "basic" else b""
    if not any(hmac.compare_digest(given, f"{USER}:{_text(secret)}".encode()) for secret in secrets):
        raise HookUnauthenticated("basic", f"Use basic authentication with the user {USER} and the secret as password.")


def _text(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
