"""Nobody learns from an answer whether an address has an account: not from its text, and not from the work it costs.

How long an answer takes depends on the machine as well; so what is compared is what is asked of the database, and which
hashes are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import httpx2
import pytest
from crewmesh_gateway.settings import AccountSettings, PasswordSettings, Settings
from fastapi import FastAPI
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow
from pwdlib.hashers.argon2 import Argon2Hasher

from .gateway import until
from .guests import PASSWORD, Guest, account_settings, guest, member
from .inside import rows
from .post import PostOffice

KNOWN, UNKNOWN, WAITING = "known@example.org", "unknown@example.org", "waiting@example.org"
ROUNDS = 3
# What the request of the moment makes others do; nothing is noted for what is done beside it.
_work: ContextVar[list[str] | None] = ContextVar("work of a request", default=None)


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(
        database_url("gateway"),
        office,
        passwords=PasswordSettings(memory_kib=4096, passes=1),
        accounts=AccountSettings(failures=10_000, mails_per_hour=1),
    )


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cost of each hash that is computed, by which thread ever."""
    computed: list[str] = []
    compute, verify = Argon2Hasher.hash, Argon2Hasher.verify

    def computing(self: Argon2Hasher, password: str | bytes, *, salt: bytes | None = None) -> str:
        made = compute(self, password, salt=salt)
        computed.append(cost_of(made))
        return made

    def verifying(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002  its own name
        computed.append(cost_of(hash if isinstance(hash, str) else hash.decode()))
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "hash", computing)
    monkeypatch.setattr(Argon2Hasher, "verify", verifying)
    return computed


@pytest.fixture(autouse=True)
def statements_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = AsyncConnection[DictRow].execute

    async def noting(
        self: AsyncConnection[DictRow], query: object, parameters: object = None, **options: object
    ) -> AsyncCursor[DictRow]:
        if (work := _work.get()) is not None:
            work.append(str(query))
        return await execute(self, query, parameters, **options)  # pyright: ignore

    monkeypatch.setattr(AsyncConnection, "execute", noting)


def cost_of(encoded: str) -> str:
    """Of ``$argon2id$v=19$m=4096,t=1,p=1$salt$hash`` all but the salt and the hash."""
    return encoded.rsplit("$", 2)[0]


def told(answer: httpx2.Response) -> object:
    """All of the answer but what differs between any two."""
    body = {name: value for name, value in answer.json().items() if name not in ("trace_id", "instance")}
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("date", "x-request-id", "content-length") and "ratelimit" not in name
    }
    return answer.status_code, body, headers


async def ask(somebody: Guest, path: str, email: str) -> httpx2.Response:
    bodies: dict[str, dict[str, object]] = {
        "login": {"email": email, "password": "a wrong but long password"},
        "signup": {"email": email, "password": PASSWORD, "name": "Ada", "organization": "Engines"},
        "password/forgot": {"email": email},
        "verify-email/resend": {"email": email},
    }
    return await somebody.post(f"/v1/auth/{path}", **bodies[path])


@pytest.mark.parametrize(
    ("path", "hashed"), [("login", 1), ("signup", 1), ("password/forgot", 0), ("verify-email/resend", 0)]
)
async def test_known_and_unknown_addresses_are_answered_alike(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice, hashes: list[str], path: str, hashed: int
) -> None:
    await member(client, office, KNOWN)
    await guest(client).sign_up(WAITING)
    await office.next_to(WAITING)
    for _ in range(ROUNDS):
        seen: dict[str, object] = {}
        for email in (KNOWN, UNKNOWN, WAITING):
            hashes.clear()
            work: list[str] = []
            noted = _work.set(work)
            answer = await ask(guest(client), path, email)
            _work.reset(noted)
            assert len(hashes) == hashed
            assert len(work) > 1, "it is noted"
            seen[email] = told(answer), tuple(work), tuple(hashes)
        assert seen[KNOWN] == seen[UNKNOWN] == seen[WAITING]

    async def all_done() -> bool:
        return not await rows(app, "SELECT 1 FROM account_requests")

    await until(all_done, seconds=50)  # before what could not be done would be tried again
