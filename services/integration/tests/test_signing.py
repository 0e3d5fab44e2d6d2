"""Signatures are checked by the reference implementation, not by our own reading of the standard."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_integration.signing.webhooks import WebhookSigner
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = '{"answer":"zweiundvierzig – 42"}'.encode()


def test_the_reference_implementation_accepts_it() -> None:
    headers = dict(WebhookSigner(SECRET).headers("run_1/deliver/0", BODY))
    assert headers["webhook-id"] == "run_1/deliver/0"
    assert Webhook(SECRET).verify(BODY, headers) == {"answer": "zweiundvierzig – 42"}


def test_an_empty_body_is_signed_too() -> None:
    Webhook(SECRET).verify(b"", dict(WebhookSigner(SECRET).headers("msg_1", b"")), json_parse=False)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_part_is_covered(header: str) -> None:
    headers = dict(WebhookSigner(SECRET).headers("msg_1", BODY))
    other = {"webhook-id": "msg_2", "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}
    headers[header] = other.get(header, "v1," + base64.b64encode(bytes(32)).decode())
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, headers)


def test_the_body_is_covered() -> None:
    headers = dict(WebhookSigner(SECRET).headers("msg_1", BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY.replace(b"42", b"43"), headers)


def test_an_old_signature_is_stale() -> None:
    signer = WebhookSigner(SECRET, clock=lambda: datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(BODY, dict(signer.headers("msg_1", BODY)))


@pytest.mark.parametrize("secret", ["", "secret", "whsec_"])
def test_a_useless_secret_is_refused(secret: str) -> None:
    with pytest.raises(Exception, match="secret"):
        WebhookSigner(secret)
