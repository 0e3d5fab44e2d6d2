"""Events leave after their commit, at least once, and consumers notice the second time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest
from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.housekeeping import prune
from crewmesh_kit.db.inbox import first_time
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.db.outbox import Outbox
from crewmesh_kit.errors import BadGateway, PayloadTooLarge, Unavailable
from crewmesh_kit.signals import cancelled
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION, FakeSidecar
from crewmesh_testkit.polling import until
from prometheus_client import REGISTRY

TOPIC = OrganizationCreated.topic


class Broker(FakeSidecar):
    """Publishes, unless it is told to fail, to hang after publishing, or to dislike an event."""

    def __init__(self) -> None:
        super().__init__("gateway")
        self.hangs_after_publishing = False
        self.dislikes = ""
        self.too_large = ""
        self.is_hanging = asyncio.Event()

    async def publish_many(self, topic: str, events: Sequence[CloudEvent]) -> None:
        if self.dislikes and any(self.dislikes in str(event.data) for event in events):
            raise BadGateway("I do not take this one")
        if self.too_large and any(self.too_large in str(event.data) for event in events):
            raise PayloadTooLarge("received message larger than max")
        await super().publish_many(topic, events)
        if self.hangs_after_publishing:
            self.is_hanging.set()
            await asyncio.Event().wait()


@pytest.fixture
async def url(database_url: Callable[[str], str]) -> str:
    url = database_url("gateway")
    await migrate(url, app_id="gateway", migrations=None)
    return url


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database]:
    async with Database.open(url, app_id="gateway", pool_max=4) as database:
        yield database


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def relay(database: Database, broker: Broker) -> AsyncGenerator[Outbox]:
    relay = Outbox(database, broker)
    running = asyncio.create_task(relay.run())
    yield relay
    await cancelled([running])


async def create(database: Database, *names: str, fail: bool = False) -> None:
    async with database.tenant(ORGANIZATION) as conn:
        for name in names:
            await outbox.add(conn, OrganizationCreated(organization=ORGANIZATION, name=name))
        if fail:
            raise RuntimeError("before the commit")


async def waiting(database: Database) -> int:
    async with database.system() as conn:
        return len(await (await conn.execute("SELECT 1 FROM outbox")).fetchall())


def names(broker: Broker) -> list[str]:
    return [str(event.data["name"]) for event in broker.published_on(TOPIC) if isinstance(event.data, dict)]


class TestAdd:
    async def test_builds_the_envelope(self, database: Database, broker: Broker) -> None:
        await create(database, "Acme")
        await Outbox(database, broker).relay_batch()
        (event,) = broker.published_on(TOPIC)
        assert event.id.startswith("evt_")
        assert event.source == "crewmesh/gateway"
        assert event.type == "crewmesh.organization.created.v1"
        assert event.crewmeshorg == ORGANIZATION
        assert event.time is not None
        assert event.data == {"organization": ORGANIZATION, "name": "Acme"}

    async def test_an_event_of_a_transaction_that_failed_never_was(self, database: Database, broker: Broker) -> None:
        with pytest.raises(RuntimeError, match="before the commit"):
            await create(database, "Acme", fail=True)
        assert await Outbox(database, broker).relay_batch() == 0

    async def test_for_another_organization_is_refused(self, database: Database) -> None:
        with pytest.raises(Exception, match="row-level security"):
            async with database.tenant(ORGANIZATION) as conn:
                await outbox.add(conn, OrganizationCreated(organization=OTHER_ORGANIZATION, name="x"))


class TestRelay:
    async def test_is_woken_by_the_commit(
        self, database: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "_POLL_SECONDS", 3600)
        running = asyncio.create_task(Outbox(database, broker).run())
        await create(database, "Acme")
        await until(lambda: names(broker) == ["Acme"], seconds=60, what="the event", every=0.005)
        await create(database, "Bcme")
        await until(lambda: names(broker) == ["Acme", "Bcme"], seconds=60, what="the next event", every=0.005)
        await cancelled([running])

    async def test_publishes_more_than_a_batch_in_order_and_leaves_nothing(
        self, database: Database, broker: Broker, relay: Outbox
    ) -> None:
        wanted = [str(number) for number in range(250)]
        await create(database, *wanted)
        await until(lambda: len(names(broker)) == 250, seconds=60, what="all events")
        assert names(broker) == wanted
        await until(lambda: _is_empty(database), seconds=60, what="an empty outbox")

    async def test_two_replicas_share_the_work(self, database: Database, broker: Broker) -> None:
        await create(database, *(str(number) for number in range(200)))
        replicas = [Outbox(database, broker) for _ in range(2)]
        assert await asyncio.gather(*(replica.relay_batch() for replica in replicas)) == [100, 100]
        assert sorted(names(broker), key=int) == [str(number) for number in range(200)]

    async def test_killed_between_publishing_and_deleting_repeats_and_loses_nothing(
        self, database: Database, broker: Broker
    ) -> None:
        await create(database, "a", "b")
        broker.hangs_after_publishing = True
        dying = asyncio.create_task(Outbox(database, broker).relay_batch())
        await asyncio.wait_for(broker.is_hanging.wait(), 60)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        broker.hangs_after_publishing = False

        assert await Outbox(database, broker).relay_batch() == 2
        assert names(broker) == ["a", "b", "a", "b"]
        first, second, again, _ = broker.published_on(TOPIC)
        assert again.id == first.id, "consumers recognise it by its id"
        async with database.system() as conn:
            seen = [await first_time(conn, "seed", event) for event in (first, second, again)]
        assert seen == [True, True, False]

    async def test_waits_for_a_broker_that_is_away(self, database: Database, broker: Broker, relay: Outbox) -> None:
        broker.broker_is_down = True
        await create(database, "Acme")
        await until(lambda: not database.outbox_filled.is_set(), seconds=60, what="the relay to try")
        assert names(broker) == []
        broker.broker_is_down = False
        await until(lambda: names(broker) == ["Acme"], seconds=60, what="the event")

    async def test_one_bad_event_does_not_hold_up_the_others(self, database: Database, broker: Broker) -> None:
        broker.dislikes = "bad"
        await create(database, "good", "bad", "fine")
        await Outbox(database, broker).relay_batch()
        assert sorted(names(broker)) == ["fine", "good"]
        assert await waiting(database) == 1
        await create(database, "next")
        await Outbox(database, broker).relay_batch()
        assert "next" in names(broker)

    async def test_nothing_goes_through_means_the_broker_is_at_fault(self, database: Database, broker: Broker) -> None:
        broker.broker_is_down = True
        await create(database, "a", "b")
        with pytest.raises(Unavailable):
            await Outbox(database, broker).relay_batch()
        broker.broker_is_down = False
        assert await Outbox(database, broker).relay_batch() == 2, "nobody was put off"

    async def test_what_is_too_large_goes_to_the_dead_letters_and_holds_nobody_up(
        self, database: Database, broker: Broker
    ) -> None:
        """However much of it is due before the rest; also while the broker is away."""
        broker.too_large = "large"
        broker.broker_is_down = True
        await create(database, *["large"] * 98, "large \0", "first", "next")
        before = buried()
        with pytest.raises(Unavailable):
            await Outbox(database, broker).relay_batch()
        assert await waiting(database) == 2
        broker.broker_is_down = False
        assert await Outbox(database, broker).relay_batch() == 2, "they were not put off"
        assert names(broker) == ["first", "next"]
        async with database.tenant(ORGANIZATION) as conn:
            letters = await (await conn.execute("SELECT * FROM dead_letters ORDER BY raw, id")).fetchall()
        assert len(letters) == 99
        assert buried() - before == 99
        unstorable, letter, *_ = letters
        assert "large \\u0000" in unstorable["raw"]
        assert (letter["topic"], letter["raw"]) == (TOPIC, None)
        assert CloudEvent.model_validate(letter["event"]).data == {"organization": ORGANIZATION, "name": "large"}
        assert "larger" in letter["reason"]

    async def test_what_is_nested_too_deep_goes_to_the_dead_letters_and_holds_nobody_up(
        self, database: Database, broker: Broker
    ) -> None:
        deep = "[" * 230 + "]" * 230
        event = f'{{"specversion":"1.0","id":"e","source":"s","type":"t","data":{deep}}}'
        async with database.tenant(ORGANIZATION) as conn:
            await conn.execute(
                "INSERT INTO outbox (org_id, topic, event) VALUES (%s, %s, %s)", [ORGANIZATION, TOPIC, event]
            )
        await create(database, "next")
        before = buried()
        assert await Outbox(database, broker).relay_batch() == 2
        assert (names(broker), await waiting(database), buried() - before) == (["next"], 0, 1)
        async with database.tenant(ORGANIZATION) as conn:
            letters = await (await conn.execute("SELECT raw, reason FROM dead_letters")).fetchall()
        assert [(letter["raw"], "recursion limit" in letter["reason"]) for letter in letters] == [(event, True)]

    async def test_what_is_refused_for_another_reason_is_put_off_however_much_it_is(
        self, database: Database, broker: Broker
    ) -> None:
        broker.dislikes = "bad"
        await create(database, *["bad"] * 100, "good")
        relay = Outbox(database, broker)
        assert [await relay.relay_batch() for _ in range(2)] == [100, 1]
        assert names(broker) == ["good"]
        assert await waiting(database) == 100


class TestInbox:
    event = CloudEvent(id="1", source="s", type="t")

    async def test_two_deliveries_at_once_are_dealt_with_once(self, database: Database) -> None:
        dealt_with = 0

        async def deliver() -> None:
            nonlocal dealt_with
            async with database.tenant(ORGANIZATION) as conn:
                if await first_time(conn, "seed", self.event):
                    await asyncio.sleep(0.05)
                    dealt_with += 1

        await asyncio.gather(*(deliver() for _ in range(4)))
        assert dealt_with == 1

    async def test_a_failed_attempt_was_none(self, database: Database) -> None:
        async def fail() -> None:
            async with database.tenant(ORGANIZATION) as conn:
                assert await first_time(conn, "seed", self.event)
                raise RuntimeError("handler failed")

        for _ in range(2):
            with pytest.raises(RuntimeError, match="handler failed"):
                await fail()

    async def test_consumers_and_sources_are_apart(self, database: Database) -> None:
        async with database.tenant(ORGANIZATION) as conn:
            assert await first_time(conn, "seed", self.event)
            assert await first_time(conn, "search", self.event)
            assert await first_time(conn, "seed", self.event.model_copy(update={"source": "other"}))

    async def test_no_organizations_event_hides_another_s(self, database: Database) -> None:
        async with database.system() as conn:
            for organization in (ORGANIZATION, OTHER_ORGANIZATION):
                event = self.event.model_copy(update={"crewmeshorg": organization})
                assert await first_time(conn, "seed", event)
                assert not await first_time(conn, "seed", event)

    async def test_forgets_after_a_week(self, database: Database) -> None:
        async with database.system() as conn:
            await conn.execute("INSERT INTO inbox VALUES ('c', 's', 'old', now() - interval '8 days')")
            await conn.execute("INSERT INTO inbox VALUES ('c', 's', 'new', now() - interval '6 days')")
        assert await prune(database) == 1


async def test_dead_letters_are_not_kept_for_ever(database: Database) -> None:
    """Those that belong to nobody neither."""
    async with database.system() as conn:
        for id_, organization, days in (("old", ORGANIZATION, 91), ("nobodys", None, 91), ("new", ORGANIZATION, 89)):
            await conn.execute(
                "INSERT INTO dead_letters (id, org_id, topic, reason, at)"
                " VALUES (%s, %s, 't', 'r', now() - %s * interval '1 day')",
                [id_, organization, days],
            )
    assert await prune(database) == 2
    assert [row["id"] for row in await database.statement("SELECT id FROM dead_letters")] == ["new"]


async def _is_empty(database: Database) -> bool:
    return await waiting(database) == 0


def buried() -> float:
    return REGISTRY.get_sample_value("crewmesh_events_buried_total", {"topic": TOPIC}) or 0
