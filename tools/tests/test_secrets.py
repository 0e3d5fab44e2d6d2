"""Secrets stay what they were, what follows from them follows, and only their owner can read them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from crewmesh_kit.identity import Identity, TokenSigner, TokenVerifier
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.secrets import Servers, database_passwords, load_or_make

APPS = ("gateway", "agent-crew")
EMBEDDED = Servers("postgresql://postgres:admin@127.0.0.1:5480/postgres", redis_port=6380)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


def test_they_are_made_once_and_addresses_follow(path: Path) -> None:
    first = load_or_make(path, APPS, EMBEDDED)
    moved = Servers("postgresql://postgres:admin@db.example:6432/postgres?sslmode=require", redis_port=7000)
    second = load_or_make(path, APPS, moved)
    password = first["database-password-agent-crew"]
    assert first["database-url-agent-crew"] == f"postgresql://agent_crew:{password}@127.0.0.1:5480/crewmesh"
    assert second["database-url-agent-crew"] == (
        f"postgresql://agent_crew:{password}@db.example:6432/crewmesh?sslmode=require"
    )
    assert second["redis-host"] == "127.0.0.1:7000"
    for kept in (
        "first-run-api-key",
        "webhook-signing-secret",
        "hook-master-key",
        "provider-master-key",
        "session-master-key",
        "identity-key-gateway",
        "dapr-api-token-gateway",
    ):
        assert first[kept] == second[kept]


def test_only_the_owner_can_read_them(path: Path) -> None:
    load_or_make(path, APPS, EMBEDDED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(path.parent.glob("*.new"))


def test_every_app_can_verify_what_another_signed(path: Path) -> None:
    secrets = load_or_make(path, APPS, EMBEDDED)
    assert all("d" not in key for key in json.loads(secrets["identity-keys"])["keys"])
    someone = Identity("org_1", "usr_1", frozenset({"runs:read"}))
    token = TokenSigner(secrets["identity-key-gateway"], app_id="gateway").sign(someone, audience="agent-crew")
    assert TokenVerifier(secrets["identity-keys"], audience="agent-crew").verify(token) == someone


def test_somebodys_own_redis(path: Path) -> None:
    own = Servers(EMBEDDED.database_admin_url, redis_port=6380, redis_url="redis://:hidden@cache.example/1")
    secrets = load_or_make(path, APPS, own)
    assert (secrets["redis-host"], secrets["redis-password"]) == ("cache.example:6379", "hidden")
    assert secrets["redis-url"] == own.redis_url


def test_from_the_embedded_server_to_an_own_one_and_back(path: Path) -> None:
    own = Servers(EMBEDDED.database_admin_url, redis_port=6380, redis_url="redis://cache.example")
    before, _, after = (load_or_make(path, APPS, servers) for servers in (EMBEDDED, own, EMBEDDED))
    assert before["redis-password"]
    assert before.values == after.values


def test_the_database_knows_every_app_and_the_workflow_store(path: Path) -> None:
    secrets = load_or_make(path, APPS, EMBEDDED)
    assert set(database_passwords(secrets, APPS)) == {"gateway", "agent-crew", "workflowstore"}


def test_a_damaged_file_is_not_overwritten(path: Path) -> None:
    path.write_text('{"redis-password": "tru')
    with pytest.raises(MeshError, match="damaged"):
        load_or_make(path, APPS, EMBEDDED)
    assert path.read_text() == '{"redis-password": "tru'
