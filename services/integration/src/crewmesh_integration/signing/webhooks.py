"""Standard Webhooks, version 1 (symmetric): ``HMAC-SHA256(secret, id.timestamp.body)``.

The id is the caller's idempotency key: the same at every retry, so that receivers can tell a repetition from news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook


def _now() -> datetime:
    return datetime.now(UTC)


class WebhookSigner:
    def __init__(self, secret: str, *, clock: Callable[[], datetime] = _now) -> None:
        if not secret.startswith("whsec_"):
            raise ValueError("the webhook signing secret must be 'whsec_' followed by base64")
        self._webhook = Webhook(secret)
        self._clock = clock

    def headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        at = self._clock()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, at, body.decode()),
        }
