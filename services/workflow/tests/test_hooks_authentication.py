"""Who may start runs by a webhook: every scheme, what is forged, what is old, and a secret that is being replaced."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from crewmesh_workflow.hooks.authentication import check, delivery, shown_secret
from crewmesh_workflow.hooks.errors import HookUnauthenticated
from crewmesh_workflow.hooks.keys import Address, HookKeys
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

KEYS = HookKeys("master")
TRIGGER = "trg_" + "0f" * 16
OLD, NEW = KEYS.secret(TRIGGER, 1), KEYS.secret(TRIGGER, 2)
NOW = 1_800_000_000
BODY = b'{"a": 1}'


def signed(secret: bytes, *, body: bytes = BODY, at: int = NOW, id_: str = "msg_1") -> dict[str, str]:
    """As the reference library signs."""
    shown = shown_secret("hmac", secret)
    assert shown is not None
    signature = Webhook(shown).sign(msg_id=id_, timestamp=datetime.fromtimestamp(at, UTC), data=body.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signature}


def refused(auth: str, headers: dict[str, str], *, body: bytes = BODY, now: float = NOW) -> bool:
    try:
        check(auth, headers, body, [NEW, OLD], now=now)
    except HookUnauthenticated:
        return True
    return False


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_signature_of_either_secret_holds(secret: bytes) -> None:
    assert not refused("hmac", signed(secret))
    rotated = {**signed(secret)}
    rotated["webhook-signature"] = "v1,AAAA v1a,x " + rotated["webhook-signature"]
    assert not refused("hmac", rotated), "a sender may sign with several secrets"


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
def test_a_request_of_another_time_is_refused(at: int) -> None:
    assert refused("hmac", signed(NEW, at=at))
    assert not refused("hmac", signed(NEW, at=at), now=at)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()},
    ],
)
def test_what_was_changed_on_the_way_is_refused(change: dict[str, str]) -> None:
    assert refused("hmac", signed(NEW) | change)


def test_another_body_is_refused() -> None:
    assert refused("hmac", signed(NEW), body=BODY + b" ")


def test_github_signs_the_body() -> None:
    shown = shown_secret("github", NEW)
    assert shown is not None
    signature = "sha256=" + hmac.new(shown.encode(), BODY, hashlib.sha256).hexdigest()
    assert not refused("github", {"x-hub-signature-256": signature})
    assert refused("github", {"x-hub-signature-256": signature}, body=b"{}")
    assert refused("github", {"x-hub-signature-256": signature.upper()})
    assert refused("github", {})


@pytest.mark.parametrize("header", ["authorization", "crewmesh-authorization"])
def test_basic(header: str) -> None:
    def basic(user: str, password: str | None) -> dict[str, str]:
        return {header: "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    assert not refused("basic", basic("hook", shown_secret("basic", NEW)))
    assert not refused("basic", basic("hook", shown_secret("basic", OLD)))
    assert refused("basic", basic("root", shown_secret("basic", NEW)))
    assert refused("basic", basic("hook", "guess"))
    assert refused("basic", {header: "Basic !"})
    assert refused("basic", {header: "Bearer cm_x_y"})
    assert refused("basic", {})


def test_a_secret_in_a_header() -> None:
    shown = shown_secret("header", NEW)
    assert shown is not None
    assert not refused("header", {"x-hook-secret": shown})
    assert not refused("header", {"x-gitlab-token": shown})
    assert refused("header", {"x-hook-secret": shown + "x"})
    assert refused("header", {"x-hook-secret": "é"})
    assert refused("header", {})


def test_an_open_hook_is_open() -> None:
    assert not refused("none", {})
    assert shown_secret("none", NEW) is None


def test_what_makes_two_requests_one_delivery() -> None:
    assert delivery("hmac", {"webhook-id": "m", "idempotency-key": "k"}, b"") == "webhook-id:m"
    assert delivery("github", {"x-github-delivery": "g", "idempotency-key": "k"}, b"") == "x-github-delivery:g"
    unnamed = delivery("github", {"idempotency-key": "k"}, b"x")
    assert unnamed == delivery("github", {"idempotency-key": "other"}, b"x") != delivery("github", {}, b"y")
    assert delivery("none", {"idempotency-key": "k"}, b"x") == "idempotency-key:k"
    assert delivery("none", {}, b"x") is None


@given(st.uuids(), st.integers(1, 30_000))
def test_addresses_name_their_trigger(id_: object, generation: int) -> None:
    address = Address("trg_" + str(id_).replace("-", ""), generation)
    token = KEYS.token(address)
    assert KEYS.address(token) == address
    assert HookKeys("another").address(token) is None


@given(st.integers(0, 43), st.sampled_from("AZaz09-_"))
def test_a_changed_address_is_none(place: int, character: str) -> None:
    token = KEYS.token(Address(TRIGGER, 1))
    changed = token[:place] + character + token[place + 1 :]
    assert KEYS.address(changed) == (Address(TRIGGER, 1) if changed == token else None)


@given(st.text(max_size=60))
def test_nonsense_is_no_address(text: str) -> None:
    assert KEYS.address(text) is None


def test_secrets_differ_by_trigger_generation_and_master() -> None:
    other = HookKeys("another").secret(TRIGGER, 1)
    assert len({OLD, NEW, other, KEYS.secret("trg_" + "1" * 32, 1)}) == 4
    assert json.dumps(shown_secret("hmac", NEW)).startswith('"whsec_')
