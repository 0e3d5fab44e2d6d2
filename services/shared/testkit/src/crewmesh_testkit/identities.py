"""Test identities, and the tokens that prove them to a service under test."""

from __future__ import annotations

import json
import time
from functools import cache

from crewmesh_kit.identity import Identity, TokenSigner
from joserfc.jwk import OKPKey

ORGANIZATION = "org_" + "0" * 31 + "1"
OTHER_ORGANIZATION = "org_" + "0" * 31 + "2"
TEST_SIGNER = "gateway"
APP_API_TOKEN = "test-app-token"
# With it a test edge says where a request came from that passes no sidecar.
EDGE_TOKEN = "test-edge-token"
APPS = ("gateway", "workflow", "agent-crew", "integration", "knowledge")


def identity(*permissions: str, organization: str = ORGANIZATION, subject: str = "key_" + "a" * 32) -> Identity:
    """Somebody of the organization who may do exactly this."""
    return Identity(organization, subject, frozenset(permissions))


def auth_headers(who: Identity, *, audience: str) -> dict[str, str]:
    """What the sidecar would hand to the app ``audience`` on a request of ``who``."""
    return {
        "authorization": f"Bearer {_signer().sign(who, audience=audience)}",
        "dapr-api-token": APP_API_TOKEN,
    }


@cache
def private_key(app_id: str) -> str:
    """The test run's private JWK of an app, as the secret store holds it."""
    key = OKPKey.generate_key("Ed25519", parameters={"kid": app_id})
    return json.dumps(key.as_dict(private=True))


@cache
def public_keys() -> str:
    """The JWKS of all apps."""
    keys = [OKPKey.import_key(json.loads(private_key(app))).as_dict(private=False) for app in APPS]
    return json.dumps({"keys": keys})


@cache
def _signer() -> TokenSigner:
    """By a clock that is ahead: tokens live for a minute, and a test that holds one may take longer."""
    return TokenSigner(private_key(TEST_SIGNER), app_id=TEST_SIGNER, now=lambda: time.time() + 3600)
