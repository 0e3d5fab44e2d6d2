"""What the sender of a request to a webhook is told when it comes to nothing."""

from __future__ import annotations

from crewmesh_kit.errors import BadGateway, Conflict, NotFound, Unauthenticated, UnsupportedMediaType

# A 401 must name a scheme (RFC 9110), and but for Basic none is registered for what webhooks are asked for. Names of
# their own tell the truth; Bearer would ask for a token that is of no use here.
_CHALLENGES = {
    "basic": 'Basic realm="webhook"',
    "header": 'Header realm="webhook", name="x-hook-secret"',
    "hmac": 'Signature realm="webhook", name="webhook-signature"',
    "github": 'Signature realm="webhook", name="x-hub-signature-256"',
}


class NoSuchHook(NotFound):
    """There is no webhook at this address: it was mistyped, replaced by another, or its workflow lost it."""

    slug, title = "no-such-hook", "No such webhook"

    def __init__(self) -> None:
        super().__init__("There is no webhook at this address; GET /v1/workflows/{id}/triggers shows the right one.")


class HookUnauthenticated(Unauthenticated):
    """The request does not prove that it comes from the sender that has the webhook's secret."""

    slug, title = "hook-unauthenticated", "Webhook not authenticated"

    def __init__(self, auth: str, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": _CHALLENGES[auth]})


class HookPaused(Conflict):
    """The workflow is paused or archived, so its webhooks start nothing."""

    slug, title = "hook-paused", "Webhook paused"

    def __init__(self) -> None:
        super().__init__(
            "The workflow is not active, so nothing was started. Activate it, then send the request again."
        )


class EncodedBody(UnsupportedMediaType):
    """The body is compressed. Send it as it is."""

    slug, title = "encoded-body", "Encoded body"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"The body is encoded as {encoding[:40]}; send it without content-encoding.")


class RunBehindHookFailed(BadGateway):
    """The run that the request started has failed or was cancelled. The answer names the run."""

    slug, title = "run-failed", "Run failed"

    def __init__(self, run: str, status: str) -> None:
        super().__init__(
            f"The run {run} has {'failed' if status == 'failed' else 'been cancelled'}; it tells why.", run=run
        )
