"""What is an access token of ours, and the many things that only look like one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_gateway.principals.models import AccessClaims
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.sessions.refresh_tokens import RefreshTokens
from crewmesh_gateway.settings import TokenSettings
from crewmesh_gateway.signing_keys.master import MasterKey, MasterKeyTooShort, Unsealable
from crewmesh_gateway.signing_keys.models import KeyRing, SigningKey
from crewmesh_gateway.signing_keys.service import SigningKeys
from crewmesh_kit.ids import new_id
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

NOW = 1_800_000_000.0
USER, ORGANIZATION, SESSION = "usr_" + "a" * 32, "org_" + "1" * 32, "ses_" + "c" * 32
PRIVATE = ec.generate_private_key(ec.SECP256R1())
FOREIGN = ec.generate_private_key(ec.SECP256R1())
MASTER = MasterKey("a-master-key-for-these-tests-alone!")


def key_of(private: ec.EllipticCurvePrivateKey, *, signs_from: float) -> SigningKey:
    key = ECKey.import_key(private)
    public = ECKey.import_key(key.as_dict(private=False))
    return SigningKey(key.thumbprint(), public, key, created_at=signs_from, signs_from=signs_from)


OURS = key_of(PRIVATE, signs_from=NOW - 1000)
KID = OURS.kid


class Ring(SigningKeys):
    """Without a database to look into."""

    def __init__(self, *keys: SigningKey, now: Callable[[], float]) -> None:
        self._now = now
        self.ring = KeyRing(keys)

    async def known(self, kid: str) -> SigningKey | None:
        return self.ring.by_kid.get(kid)


def tokens_at(now: float = NOW) -> AccessTokens:
    return AccessTokens(Ring(OURS, now=lambda: now), TokenSettings(), now=lambda: now)


def encoded(value: JsonValue | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw_signature(content: str, private: ec.EllipticCurvePrivateKey) -> bytes:
    r, s = utils.decode_dss_signature(private.sign(content.encode(), ec.ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


HEADER: JsonObject = {"typ": "at+jwt", "alg": "ES256", "kid": KID}
CLAIMS: JsonObject = {
    "iss": "crewmesh",
    "aud": "crewmesh-api",
    "sub": USER,
    "org": ORGANIZATION,
    "sid": SESSION,
    "jti": "0123456789abcdef",
    "iat": int(NOW) - 10,
    "exp": int(NOW) + 100,
}


def signed(header: JsonValue = HEADER, claims: JsonValue = CLAIMS, key: ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(raw_signature(content, key))}"


def with_hmac(header: Mapping[str, JsonValue], secret: bytes, digest: str = "sha256") -> str:
    content = f"{encoded(dict(header))}.{encoded(CLAIMS)}"
    return f"{content}.{encoded(hmac.new(secret, content.encode(), digest).digest())}"


async def accepted(table: Mapping[str, str], tokens: AccessTokens) -> list[str]:
    return [name for name, text in table.items() if await tokens.read(text) is not None]


async def test_what_we_issue_we_read() -> None:
    tokens = tokens_at()
    text, expires = tokens.issue(USER, ORGANIZATION, SESSION)
    assert expires.timestamp() == NOW + 600
    assert await tokens.read(text) == AccessClaims(USER, ORGANIZATION, SESSION, NOW + 600)
    assert await tokens_at(NOW + 599).read(text) is not None
    assert await tokens_at(NOW + 600).read(text) is None
    assert await tokens_at(NOW - 4).read(text) is not None, "another replica's clock is a little behind"
    assert await tokens_at(NOW - 6).read(text) is None
    assert await accepted({"by hand": signed()}, tokens) == ["by hand"]


async def test_no_other_algorithm_and_no_other_key() -> None:
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public: JsonObject = {**OURS.published()}
    theirs = key_of(FOREIGN, signs_from=NOW)
    hs256: JsonObject = {**HEADER, "alg": "HS256"}
    content = f"{encoded(HEADER)}.{encoded(CLAIMS)}"
    plain = {
        f"alg {alg!r}": f"{encoded({**HEADER, 'alg': alg})}.{encoded(CLAIMS)}."
        for alg in ("none", "None", "NONE", "nOnE", "", None, "ES256")
    }
    es384 = FOREIGN.sign(content.encode(), ec.ECDSA(SHA384()))
    table = {
        **plain,
        "none, with a signature": signed({**HEADER, "alg": "none"}),
        "HS256 by the public key's PEM": with_hmac(hs256, pem),
        "HS256 by its stripped PEM": with_hmac(hs256, pem.strip()),
        "HS256 by its DER": with_hmac(hs256, der),
        "HS256 by its JWK": with_hmac(hs256, json.dumps(public).encode()),
        "HS256 by nothing": with_hmac(hs256, b""),
        "HS256 under ES256": with_hmac(HEADER, pem),
        "HS512 by the public key's PEM": with_hmac({**HEADER, "alg": "HS512"}, pem, "sha512"),
        "another key under our kid": signed(key=FOREIGN),
        "another key under its own kid": signed({**HEADER, "kid": theirs.kid}, key=FOREIGN),
        "ES384": f"{content}.{encoded(es384)}",
        "ES384 in name": signed({**HEADER, "alg": "ES384"}),
        "RS256 in name": signed({**HEADER, "alg": "RS256"}),
        "EdDSA in name": signed({**HEADER, "alg": "EdDSA"}),
        "a list of algorithms": signed({**HEADER, "alg": ["ES256", "none"]}),
    }
    assert await accepted(table, tokens_at()) == []


async def test_a_header_has_nothing_to_choose() -> None:
    theirs = ECKey.import_key(FOREIGN).as_dict(private=False)
    jwk: JsonObject = {name: str(value) for name, value in theirs.items()}
    strange_kids: list[JsonValue] = [None, "", 1, [KID], {"kid": KID}, f"{KID} ", "../" + KID, "' OR 1=1 --", "\0"]
    table = {
        "own key embedded": signed({**HEADER, "jwk": jwk}, key=FOREIGN),
        "own key embedded, no kid": signed({"typ": "at+jwt", "alg": "ES256", "jwk": jwk}, key=FOREIGN),
        "jku": signed({**HEADER, "jku": "https://evil.test/jwks"}, key=FOREIGN),
        "x5u": signed({**HEADER, "x5u": "https://evil.test/x5"}),
        "x5c": signed({**HEADER, "x5c": ["MIIB"]}),
        "crit": signed({**HEADER, "crit": ["exp"]}),
        "crit, empty": signed({**HEADER, "crit": []}),
        "crit b64": signed({**HEADER, "crit": ["b64"], "b64": False}),
        "b64 alone": signed({**HEADER, "b64": False}),
        "zip": signed({**HEADER, "zip": "DEF"}),
        "anything more": signed({**HEADER, "cty": "JWT"}),
        "another type": signed({**HEADER, "typ": "JWT"}),
        "no type": signed({"alg": "ES256", "kid": KID}),
        "no kid": signed({"typ": "at+jwt", "alg": "ES256"}),
        **{f"kid {kid!r}": signed({**HEADER, "kid": kid}) for kid in strange_kids},
        "a list": signed([HEADER]),
        "a text": signed("ES256"),
        "deep": f"{encoded(b'[' * 1200)}.{encoded(CLAIMS)}.{'A' * 86}",
        "no JSON": f"{encoded(b'{')}.{encoded(CLAIMS)}.{'A' * 86}",
        "no UTF-8": f"{encoded(b'{%c}' % 255)}.{encoded(CLAIMS)}.{'A' * 86}",
    }
    assert await accepted(table, tokens_at()) == []


async def test_one_token_has_one_spelling() -> None:
    good = signed()
    header, claims, signature = good.split(".")
    r, s = int.from_bytes(base64.urlsafe_b64decode(signature + "==")[:32]), 0
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}[signature[-1]]
    table = {
        "no signature": f"{header}.{claims}.",
        "no signature at all": f"{header}.{claims}",
        "zeros": f"{header}.{claims}.{encoded(bytes(64))}",
        "r and nothing": f"{header}.{claims}.{encoded(r.to_bytes(32) + s.to_bytes(32))}",
        "DER": f"{header}.{claims}.{encoded(PRIVATE.sign(f'{header}.{claims}'.encode(), ec.ECDSA(SHA256())))}",
        "longer": f"{good}AA",
        "padded": f"{good}==",
        "other spare bits": f"{good[:-1]}{last}",
        "with what decoders skip": f"{header}.{claims}.{signature[:40]}!{signature[40:]}",
        "spaces": f" {good}",
        "a line feed": f"{good}\n",
        "four parts": f"{good}.x",
        "five parts": f"{header}.{claims}.{signature}.x.y",
        "of another token": signed(claims={**CLAIMS, "org": "org_2"}).rpartition(".")[0] + f".{signature}",
        "swapped": f"{claims}.{header}.{signature}",
        "in JSON": json.dumps({"payload": claims, "protected": header, "signature": signature}),
        "long": signed(claims={**CLAIMS, "jti": "x" * 5000}),
        "not ASCII": good[:-1] + "А",
    }
    assert await accepted({"good": good, **table}, tokens_at()) == ["good"]


async def test_claims_are_ours_whole_and_of_their_type() -> None:
    changed: dict[str, JsonObject] = {
        "another issuer": {"iss": "gateway"},
        "another audience": {"aud": "workflow"},
        "a list of audiences": {"aud": ["crewmesh-api"]},
        "over": {"exp": int(NOW)},
        "long over": {"iat": 0, "exp": 100},
        "from the future": {"iat": int(NOW) + 60, "exp": int(NOW) + 120},
        "too long": {"iat": int(NOW), "exp": int(NOW) + 601},
        "too long, from the past": {"iat": int(NOW) - 10_000, "exp": int(NOW) + 100},
        "for ever": {"exp": 10**30},
        "exp as text": {"exp": str(int(NOW) + 100)},
        "exp as float": {"exp": NOW + 100.5},
        "exp as truth": {"exp": True},
        "exp as nothing": {"exp": None},
        "iat as text": {"iat": str(int(NOW))},
        "sub as number": {"sub": 17_000},
        "sub as list": {"sub": [USER]},
        "org for all": {"org": "*"},
        "org empty": {"org": ""},
        "sid as nothing": {"sid": None},
        "more": {"permissions": ["*"]},
        "not before": {"nbf": int(NOW)},
    }
    table = {name: signed(claims={**CLAIMS, **change}) for name, change in changed.items()}
    for missing in CLAIMS:
        table[f"no {missing}"] = signed(claims={name: value for name, value in CLAIMS.items() if name != missing})
    table |= {
        "a list": signed(claims=[CLAIMS]),
        "a text": signed(claims="x"),
        "nothing": signed(claims=None),
        "no JSON": signed_bytes(b"{"),
        "no UTF-8": signed_bytes(b"\xff"),
        "deep": signed_bytes(b"[" * 1200),
        "NaN": signed_bytes(json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), "NaN").encode()),
    }
    assert await accepted({"whole": signed(), **table}, tokens_at()) == ["whole"]


def signed_bytes(claims: bytes) -> str:
    content = f"{encoded(HEADER)}.{encoded(claims)}"
    return f"{content}.{encoded(raw_signature(content, PRIVATE))}"


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", fullmatch=True)))
async def test_no_text_is_a_token_by_chance(text: str) -> None:
    assert await tokens_at().read(text) is None
    assert RefreshTokens(MASTER).read(text) is None


@given(place=st.integers(0, 10_000), letter=st.sampled_from("AZaz09-_.=+/ \0é"))
async def test_no_letter_can_be_changed(place: int, letter: str) -> None:
    tokens, refresh = tokens_at(), RefreshTokens(MASTER)
    for good in (signed(), refresh.first(new_id("ses")).text):
        at = place % len(good)
        text = good[:at] + letter + good[at + 1 :]
        if text != good:
            assert await tokens.read(text) is None
            assert refresh.read(text) is None


def test_refresh_tokens_follow_from_each_other() -> None:
    refresh = RefreshTokens(MASTER)
    session = new_id("ses")
    first = refresh.first(session)
    read = refresh.read(first.text)
    assert read == first
    assert refresh.after(first) == refresh.after(first) == RefreshTokens(MASTER).after(first)
    chain = [first]
    for _ in range(100):
        chain.append(refresh.after(chain[-1]))
    assert len({token.text for token in chain}) == 101
    assert {token.session for token in chain} == {session}
    assert all(refresh.read(token.text) == token for token in chain)
    assert refresh.first(session) != first
    assert first.digest() == hashlib.sha256(first.text.encode()).digest()
    other = RefreshTokens(MasterKey("another-master-key-of-the-same-length"))
    assert other.read(first.text) is None, "with another master key everybody logs in again"
    assert other.csrf_of(session) != refresh.csrf_of(session) != refresh.csrf_of(new_id("ses"))


def test_the_master_key() -> None:
    sealed = MASTER.seal("a purpose", b"something", about="key_1")
    assert sealed != MASTER.seal("a purpose", b"something", about="key_1")
    assert MASTER.open("a purpose", sealed, about="key_1") == b"something"
    for purpose, raw, about in (
        ("another purpose", sealed, "key_1"),
        ("a purpose", sealed, "key_2"),
        ("a purpose", sealed[:-1], "key_1"),
        ("a purpose", sealed[:5], "key_1"),
        ("a purpose", b"", "key_1"),
    ):
        with pytest.raises(Unsealable):
            MASTER.open(purpose, raw, about=about)
    assert MASTER.mac("one", "x") != MASTER.mac("another", "x")
    with pytest.raises(MasterKeyTooShort, match="session-master-key"):
        MasterKey("short")
