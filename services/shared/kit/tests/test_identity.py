import json
from dataclasses import replace

import pytest
from crewmesh_kit.errors import Unauthenticated
from crewmesh_kit.identity import Identity, TokenSigner, TokenVerifier
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

ALICE = Identity("org_1", "key_1", frozenset({"runs:read"}))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """The key pairs of two apps."""

    def __init__(self) -> None:
        self.private = {app: OKPKey.generate_key("Ed25519", {"kid": app}) for app in ("gateway", "workflow")}
        self.public = json.dumps({"keys": [key.as_dict(private=False) for key in self.private.values()]})

    def signer(self, app: str, clock: Clock) -> TokenSigner:
        return TokenSigner(json.dumps(self.private[app].as_dict(private=True)), app_id=app, now=clock)

    def verifier(self, app: str, clock: Clock) -> TokenVerifier:
        return TokenVerifier(self.public, audience=app, now=clock)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_who_was_signed_is_who_arrives(keys: Keys, clock: Clock) -> None:
    token = keys.signer("gateway", clock).sign(ALICE, audience="workflow")
    assert keys.verifier("workflow", clock).verify(token) == ALICE


def test_groups_travel_and_are_signed(keys: Keys, clock: Clock) -> None:
    owner = replace(ALICE, groups=frozenset({"role:owner", "team:team_1"}), group_names=frozenset({"team:Ops & Söhne"}))
    signer = keys.signer("gateway", clock)
    verifier = keys.verifier("workflow", clock)
    assert verifier.verify(signer.sign(owner, audience="workflow")) == owner
    assert verifier.verify(signer.sign(ALICE, audience="workflow")).groups == frozenset()


def test_a_token_without_groups_names_somebody_of_no_group(keys: Keys, clock: Clock) -> None:
    claims: dict[str, object] = {
        "iss": "gateway",
        "aud": "workflow",
        "sub": ALICE.subject,
        "org": ALICE.organization,
        "permissions": sorted(ALICE.permissions),
        "exp": clock.now + 60,
    }
    token = jwt.encode({"alg": "Ed25519", "kid": "gateway"}, claims, keys.private["gateway"], algorithms=["Ed25519"])
    assert keys.verifier("workflow", clock).verify(token) == ALICE


def test_a_token_is_handed_out_again_until_half_of_its_life(keys: Keys, clock: Clock) -> None:
    signer = keys.signer("gateway", clock)
    first = signer.sign(ALICE, audience="workflow")
    clock.now += 29
    assert signer.sign(ALICE, audience="workflow") == first
    assert signer.sign(ALICE, audience="knowledge") != first
    clock.now += 2
    assert signer.sign(ALICE, audience="workflow") != first


def test_a_token_ends_after_a_minute_even_when_it_was_seen_before(keys: Keys, clock: Clock) -> None:
    token = keys.signer("gateway", clock).sign(ALICE, audience="workflow")
    verifier = keys.verifier("workflow", clock)
    verifier.verify(token)
    clock.now += 66
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(token)


def test_a_token_for_another_audience_is_refused(keys: Keys, clock: Clock) -> None:
    token = keys.signer("gateway", clock).sign(ALICE, audience="knowledge")
    with pytest.raises(Unauthenticated, match="not made for workflow"):
        keys.verifier("workflow", clock).verify(token)


def test_an_app_cannot_sign_as_another(keys: Keys, clock: Clock) -> None:
    posing = TokenSigner(json.dumps(keys.private["workflow"].as_dict(private=True)), app_id="gateway", now=clock)
    with pytest.raises(Unauthenticated):
        keys.verifier("knowledge", clock).verify(posing.sign(ALICE, audience="knowledge"))
    claims: dict[str, object] = {
        "iss": "gateway",
        "aud": "knowledge",
        "sub": "s",
        "org": "o",
        "permissions": [],
        "exp": clock.now + 60,
    }
    token = jwt.encode({"alg": "Ed25519", "kid": "workflow"}, claims, keys.private["workflow"], algorithms=["Ed25519"])
    with pytest.raises(Unauthenticated):
        keys.verifier("knowledge", clock).verify(token)


def test_a_foreign_key_is_refused(keys: Keys, clock: Clock) -> None:
    foreign = OKPKey.generate_key("Ed25519", {"kid": "gateway"})
    signer = TokenSigner(json.dumps(foreign.as_dict(private=True)), app_id="gateway", now=clock)
    with pytest.raises(Unauthenticated):
        keys.verifier("workflow", clock).verify(signer.sign(ALICE, audience="workflow"))


def test_the_public_key_does_not_serve_as_a_shared_secret(keys: Keys, clock: Clock) -> None:
    claims: dict[str, object] = {
        "iss": "gateway",
        "aud": "workflow",
        "sub": "s",
        "org": "o",
        "permissions": ["*"],
        "exp": clock.now + 60,
    }
    public = keys.private["gateway"].as_dict(private=False)["x"]
    token = jwt.encode({"alg": "HS256", "kid": "gateway"}, claims, OctKey.import_key(str(public)))
    with pytest.raises(Unauthenticated):
        keys.verifier("workflow", clock).verify(token)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é" * 40, "." * 10_000])
def test_nonsense_is_refused(keys: Keys, clock: Clock, token: str) -> None:
    with pytest.raises(Unauthenticated):
        keys.verifier("workflow", clock).verify(token)


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "org", "permissions", "exp"])
def test_every_claim_is_needed(keys: Keys, clock: Clock, missing: str) -> None:
    claims: dict[str, object] = {
        "iss": "gateway",
        "aud": "workflow",
        "sub": "s",
        "org": "o",
        "permissions": [],
        "exp": clock.now + 60,
    }
    del claims[missing]
    token = jwt.encode({"alg": "Ed25519", "kid": "gateway"}, claims, keys.private["gateway"], algorithms=["Ed25519"])
    with pytest.raises(Unauthenticated):
        keys.verifier("workflow", clock).verify(token)


def test_a_star_allows_everything() -> None:
    assert Identity("o", "s", frozenset({"*"})).allows("runs:read")
    assert not ALICE.allows("runs:write")
