"""The record of attempts: complete, readable page by page, closed to other organizations, free of secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from io import StringIO

import psycopg
import pytest
from aiohttp import web
from crewmesh_integration.deliveries.repository import Attempt, DeliveryRepository, Filters, Result
from crewmesh_integration.deliveries.service import shown_path
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import LogSettings
from crewmesh_testkit.identities import OTHER_ORGANIZATION, identity
from crewmesh_testkit.log_capture import captured_log
from crewmesh_testkit.servers import PostgresServer
from psycopg import sql

from .running import RUN, integration
from .sites import ok, site


async def test_lists_page_by_page_and_filters(database: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=404)

    other_run = "run_" + "b" * 32
    async with (
        integration(database) as service,
        site({"/a": ok, "/b": refuse}) as receiver,
    ):
        for number in range(3):
            await service.send(f"a{number}", url=receiver.url("/a?secret=canary"))
        await service.send("b", service.run(other_run), url=receiver.url("/b"), method="PUT")

        newest, *_ = everything = await service.deliveries()
        assert [record["idempotency_key"] for record in everything] == ["b", "a2", "a1", "a0"]
        assert {name: newest[name] for name in ("run", "method", "path", "outcome", "status", "error", "host")} == {
            "run": other_run,
            "method": "PUT",
            "path": "/b",
            "outcome": "refused",
            "status": 404,
            "error": "Upstream refused",
            "host": f"127.0.0.1:{receiver.port}",
        }
        assert everything[1]["path"] == "/a"
        assert "canary" not in str(everything)

        first = (await service.get("/v1/deliveries?limit=3")).json()
        second = (await service.get(f"/v1/deliveries?limit=3&cursor={first['next_cursor']}")).json()
        assert [*first["items"], *second["items"]] == everything
        assert second["next_cursor"] is None

        for query, count in (
            (f"?run={RUN}", 3),
            (f"?run={other_run}", 1),
            ("?outcome=answered", 3),
            ("?outcome=refused", 1),
            ("?outcome=answered&idempotency_key=a1", 1),
            (f"?host=127.0.0.1:{receiver.port}", 4),
            ("?host=example.com", 0),
        ):
            assert len(await service.deliveries(query)) == count, query


async def test_shows_one_with_an_etag(database: str) -> None:
    async with integration(database) as service, site({"/a": ok}) as receiver:
        await service.send("key", url=receiver.url("/a"))
        (record,) = await service.deliveries()
        one = await service.get(f"/v1/deliveries/{record['id']}")
        assert one.json() == record
        etag = one.headers["etag"]
        again = await service.get(f"/v1/deliveries/{record['id']}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


class TestAccess:
    async def test_permission(self, database: str) -> None:
        async with integration(database) as service:
            for path in ("/v1/deliveries", f"/v1/deliveries/{new_id('dlv')}"):
                assert (await service.http.get(path)).status_code == 401
                answer = await service.get(path, identity("http:send"))
                assert answer.status_code == 403
                assert "deliveries:read" in answer.json()["detail"]

    async def test_another_organization_sees_nothing(self, database: str) -> None:
        async with integration(database) as service, site({"/": ok}) as receiver:
            await service.send("key", url=receiver.url("/"))
            (record,) = await service.deliveries()
            stranger = service.stranger()
            assert await service.deliveries(who=stranger) == []
            assert await service.deliveries(f"?run={RUN}&idempotency_key=key", who=stranger) == []
            assert (await service.get(f"/v1/deliveries/{record['id']}", stranger)).status_code == 404

    async def test_the_database_itself_keeps_organizations_apart(self, database: str) -> None:
        async with integration(database) as service, site({"/": ok}) as receiver:
            await service.send("key", url=receiver.url("/"))
        count = "SELECT count(*) FROM deliveries"
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            for organization, visible in ((None, 0), (OTHER_ORGANIZATION, 0), (service.organization, 1)):
                if organization is not None:
                    await connection.execute("SELECT set_config('app.org_id', %s, false)", [organization])
                assert await (await connection.execute(count)).fetchone() == (visible,), organization
            await connection.execute("SELECT set_config('app.org_id', %s, false)", [OTHER_ORGANIZATION])
            assert (await connection.execute("UPDATE deliveries SET error = 'x'")).rowcount == 0
            assert (await connection.execute("DELETE FROM deliveries")).rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(
                    "INSERT INTO deliveries (id, org_id, idempotency_key, method, host, path)"
                    " VALUES ('dlv_x', %s, 'k', 'GET', 'h', '/')",
                    [service.organization],
                )

    async def test_bad_questions(self, database: str) -> None:
        async with integration(database) as service:
            for query, status in (
                ("?limit=0", 400),
                ("?limit=201", 400),
                ("?limit=x", 400),
                ("?cursor=nonsense", 400),
                ("?cursor=WzFd", 400),
                ("?outcome=lost", 400),
                ("?run=", 400),
                ("?run=%00", 400),
                ("/dlv_unknown", 404),
                ("/%00", 400),
                ("/..%2f..%2fetc", 404),
            ):
                answer = await service.get(f"/v1/deliveries{query}")
                assert answer.status_code == status, (query, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def log_lines() -> Generator[StringIO]:
    """Everything the process logs, as the service would write it."""
    with captured_log("integration", LogSettings(level="debug")) as written:
        yield written


async def test_secrets_are_in_no_row_and_in_no_log(database: str, log_lines: StringIO) -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=503, text="you sent canary")

    async with integration(database) as service, site({"/a": ok, "/b": fail}) as receiver:
        for path in ("/a", "/b", "/nowhere"):
            await service.send(
                path,
                url=receiver.url(f"{path}?token=canary"),
                headers={"Authorization": "Bearer canary", "X-Api-Key": "canary"},
                body={"password": "canary"},
            )
        await service.send("x", url="http://10.0.0.1/?token=canary", headers={"Authorization": "canary"})
        await service.send("y", url="http://canary:canary@example.com/")
        await service.send("z", url="https://example.com/", headers={"Host": "canary"})
        metrics = (await service.http.get("/metrics")).text
    assert "canary" in str(receiver.seen)
    assert "sent a request" in log_lines.getvalue()
    assert "canary" not in log_lines.getvalue()
    assert "canary" not in metrics
    assert 'crewmesh_outbound_requests_total{outcome="answered"}' in metrics
    rows = await _every_row(database)
    assert rows.count(service.organization) >= 4
    assert "canary" not in rows


async def _every_row(url: str) -> str:
    """Every row of every table of the service's schema."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SELECT set_config('app.org_id', '*', false)")
        tables = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        rows: list[tuple[object, ...]] = []
        for (table,) in await tables.fetchall():
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            rows += await (await connection.execute(query)).fetchall()
    return str(rows)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "/"),
        ("/api/v2/orders/1234", "/api/v2/orders/1234"),
        ("/notifications-for-everybody", "/notifications-for-everybody"),
        ("/services/T0001/B0002/Abc123def456ghi789jkl", "/services/T0001/B0002/Abc1…"),
        ("/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage", "/bot1…/sendMessage"),
        ("/" + "a" * 1000, "/" + "a" * 299),
    ],
)
def test_what_looks_like_a_token_is_shortened(path: str, shown: str) -> None:
    assert shown_path(path) == shown


async def test_an_outcome_is_written_although_postgresql_restarts(database: str, postgres: PostgresServer) -> None:
    killed = asyncio.Event()

    async def restarting(_: web.Request) -> web.Response:
        await asyncio.to_thread(postgres.server.kill)
        killed.set()
        return web.json_response({"done": True})

    await asyncio.to_thread(postgres.checkpoint)
    async with integration(database) as service, site({"/": restarting}) as receiver:
        sending = asyncio.create_task(service.send("key", url=receiver.url("/")))
        await asyncio.wait_for(killed.wait(), 60)
        await asyncio.to_thread(postgres.server.start)
        assert (await sending).json()["body"] == {"done": True}
        (record,) = await service.deliveries()
        assert (record["outcome"], record["status"]) == ("answered", 200)
        assert (await service.send("key", url=receiver.url("/"))).json()["body"] == {"done": True}
    assert len(receiver.seen) == 1


async def test_an_attempt_is_on_record_before_its_outcome_is_known(database: str) -> None:
    during: list[object] = []

    async def look(_: web.Request) -> web.Response:
        during.extend(await service.deliveries())
        return web.Response(status=204)

    async with integration(database) as service, site({"/": look}) as receiver:
        await service.send("key", url=receiver.url("/"))
        (after,) = await service.deliveries()
    assert during == [{**after, "outcome": "sending", "status": None, "duration_ms": None}]


async def test_old_records_are_dropped(database: str) -> None:
    async with integration(database):
        pass  # migrates
    async with Database.open(database, app_id="integration") as opened:
        repository = DeliveryRepository(opened)
        organizations = (new_id("org"), new_id("org"))
        for organization in organizations:
            for age in (1, 40):
                attempt = Attempt(
                    id=new_id("dlv"),
                    organization=organization,
                    run=None,
                    idempotency_key=f"{age}",
                    method="GET",
                    host="example.com",
                    path="/",
                )
                await repository.insert(attempt)
                result = Result(outcome="answered", status=200, duration_ms=1, error=None)
                await repository.complete(organization, attempt.id, result)
                async with opened.system() as connection:
                    await connection.execute(
                        "UPDATE deliveries SET at = now() - make_interval(days => %s) WHERE id = %s", (age, attempt.id)
                    )
        assert await repository.delete_older_than(30) == 2
        for organization in organizations:
            (left,) = await repository.newest_first(organization, Filters(), before=None, limit=10)
            assert left.idempotency_key == "1"
