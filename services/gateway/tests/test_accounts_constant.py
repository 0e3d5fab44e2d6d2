"""Nobody learns from an answer whether an address has an account: not from its text, and not from its time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import httpx2
import pytest
from crewmesh_gateway.settings import AccountSettings, PasswordSettings, Settings
from fastapi import FastAPI

from .guests import PASSWORD, Guest, account_settings, guest, member
from .inside import rows
from .post import PostOffice

KNOWN, UNKNOWN, WAITING = "known@example.org", "unknown@example.org", "waiting@example.org"
ROUNDS = 40


@pytest.fixture
def settings(office: PostOffice, database_url: Callable[[str], str]) -> Settings:
    return account_settings(
        database_url("gateway"),
        office,
        passwords=PasswordSettings(memory_kib=4096, passes=1),
        accounts=AccountSettings(failures=10_000, mails_per_hour=1),
    )


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


@pytest.mark.parametrize("path", ["login", "signup", "password/forgot", "verify-email/resend"])
async def test_known_and_unknown_addresses_are_answered_alike(
    app: FastAPI, client: httpx2.AsyncClient, office: PostOffice, path: str
) -> None:
    await member(client, office, KNOWN)
    await guest(client).sign_up(WAITING)
    await office.next_to(WAITING)
    seconds: dict[str, list[float]] = {KNOWN: [], UNKNOWN: [], WAITING: []}
    answers: dict[str, object] = {}
    for _ in range(ROUNDS):
        for email, measured in seconds.items():
            began = time.perf_counter()
            answer = await ask(guest(client), path, email)
            measured.append(time.perf_counter() - began)
            answers[email] = told(answer)
    assert answers[KNOWN] == answers[UNKNOWN] == answers[WAITING]
    medians = [statistics.median(measured) for measured in seconds.values()]
    assert max(medians) / min(medians) < 1.5, medians
    assert not await rows(app, "SELECT 1 FROM account_requests WHERE due_at > now() + interval '1 second'")
