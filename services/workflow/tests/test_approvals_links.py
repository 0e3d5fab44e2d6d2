"""Links that decide once: what they carry, who may have them, and what a stolen, old or used one does."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import OTHER_ORGANIZATION
from crewmesh_workflow.approvals.errors import LinkNotUsable
from crewmesh_workflow.approvals.tokens import Grant, LinkTokens

from services.workflow.tests.approvals import ANN, BOB, EVES_KEY, OWNER, Clock, Desk, open_desk, person

YES: JsonObject = {"approved": True}
SENDER = person("mailer", permissions=("approvals:links",))
FORM_TYPE = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def desk_url(database_url: Callable[[str], str]) -> str:
    return database_url("workflow")


@pytest.fixture
async def desk(desk_url: str) -> AsyncGenerator[Desk]:
    async with open_desk(desk_url) as opened:
        yield opened


class TestTokens:
    def grant(self, tokens: LinkTokens, seconds: int = 60) -> Grant:
        return tokens.grant(organization="org_1", approval="apr_1", subject="ann", group="team:ops", seconds=seconds)

    def test_what_was_written_is_what_is_read(self) -> None:
        tokens = LinkTokens("k")
        grant = self.grant(tokens)
        assert tokens.read(tokens.write(grant)) == grant
        assert grant.identity.permissions == {"approvals:decide"}
        assert grant.identity.groups == {"team:ops"}

    def test_two_links_are_never_the_same(self) -> None:
        tokens = LinkTokens("k")
        assert tokens.write(self.grant(tokens)) != tokens.write(self.grant(tokens))

    def test_a_token_is_short_enough_for_a_mail(self) -> None:
        tokens = LinkTokens("k")
        ids = {"organization": "org_" + "0" * 32, "approval": "apr_" + "0" * 32, "subject": "usr_" + "0" * 32}
        assert len(tokens.write(tokens.grant(**ids, group=None, seconds=60))) < 300

    def test_another_key_reads_nothing(self) -> None:
        tokens = LinkTokens("k")
        with pytest.raises(LinkNotUsable):
            LinkTokens("l").read(tokens.write(self.grant(tokens)))

    def test_an_old_token(self) -> None:
        clock = Clock()
        tokens = LinkTokens("k", now=clock)
        token = tokens.write(self.grant(tokens))
        clock.ahead = 59
        tokens.read(token)
        clock.ahead = 61
        with pytest.raises(LinkNotUsable):
            tokens.read(token)

    def test_no_bit_of_it_may_change(self) -> None:
        tokens = LinkTokens("k")
        token = tokens.write(self.grant(tokens))
        payload, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
        for part, data in enumerate((payload, signature)):
            for bit in range(len(data) * 8):
                changed = bytearray(data)
                changed[bit // 8] ^= 1 << bit % 8
                parts = [payload, signature]
                parts[part] = bytes(changed)
                with pytest.raises(LinkNotUsable):
                    tokens.read(".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts))

    @pytest.mark.parametrize("token", ["", ".", "a", "a.b", "a.b.c", "é.é", "=.=", "." * 1000, "A" * 100_000, "\0.\0"])
    def test_nonsense(self, token: str) -> None:
        with pytest.raises(LinkNotUsable):
            LinkTokens("k").read(token)

    def test_an_empty_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            LinkTokens("")


class TestWhoGetsALink:
    async def test_it_begins_with_the_public_address(self, desk: Desk) -> None:
        question = await desk.ask()
        made = await desk.post(f"/v1/approvals/{question}/links", ANN, {"for": "user:ann", "expires_seconds": 60})
        assert made.json()["url"].startswith("https://crewmesh.test/v1/approval-links/")
        assert made.json()["expires_at"] is not None

    async def test_in_ones_own_name(self, desk: Desk) -> None:
        question = await desk.ask(assignees=["team:ops"])
        member = person("dan", "team:ops")
        link = await desk.link(question, member, **{"for": "user:dan"})
        assert (await desk.client.post(link, json=YES)).json()["verdict"] == "approved"
        assert await desk.decisions(question) != []

    async def test_in_ones_own_name_as_one_of_a_team_that_is_asked_by_its_name(self, desk: Desk) -> None:
        question = await desk.ask(assignees=["team:Vertrieb Süd"])
        member = replace(person("dan", "team:team_1"), group_names=frozenset({"team:Vertrieb Süd"}))
        link = await desk.link(question, member, **{"for": "user:dan"})
        assert (await desk.client.post(link, json=YES)).json()["verdict"] == "approved"

    @pytest.mark.parametrize("name", ["user:usr_eve", "user:key_eve"])
    async def test_a_link_that_a_key_has_made_for_itself_is_its_owners_word(self, desk: Desk, name: str) -> None:
        question = await desk.ask(assignees=["team:ops"], quorum=2)
        link = await desk.link(question, EVES_KEY, **{"for": name})
        await desk.decide(question, EVES_KEY, YES)
        by_link = (await desk.client.post(link, json=YES)).json()
        assert (by_link["status"], [each["by"] for each in by_link["decisions"]]) == ("open", ["usr_eve"])

    async def test_a_question_to_one_key_alone_is_not_decided_by_a_link(self, desk: Desk) -> None:
        question = await desk.ask(assignees=["user:key_eve"])
        refused = await desk.post(f"/v1/approvals/{question}/links", EVES_KEY, {"for": "user:key_eve"})
        assert refused.status_code == 403
        assert "user:usr_eve may not decide" in refused.json()["detail"]

    async def test_in_the_name_of_others_only_with_permission(self, desk: Desk) -> None:
        question = await desk.ask()
        refused = await desk.post(f"/v1/approvals/{question}/links", ANN, {"for": "user:bob"})
        assert (refused.status_code, refused.json()["permission"]) == (403, "approvals:links")
        for maker in (SENDER, OWNER):
            await desk.link(question, maker, **{"for": "user:bob"})

    async def test_nobody_vouches_for_their_own_groups(self, desk: Desk) -> None:
        question = await desk.ask(assignees=["team:ops"])
        body: JsonObject = {"for": "user:ann", "groups": ["team:ops"]}
        assert (await desk.post(f"/v1/approvals/{question}/links", ANN, body)).status_code == 403
        assert (await desk.post(f"/v1/approvals/{question}/links", SENDER, body)).status_code == 201

    @pytest.mark.parametrize(
        ("assignees", "groups", "status"),
        [
            (["user:bob"], [], 201),
            (["user:ann"], [], 403),
            (["role:owner"], ["role:owner"], 201),
            (["role:owner"], ["role:member"], 403),
            (["role:owner"], [], 403),
        ],
    )
    async def test_only_who_is_asked(
        self, desk: Desk, assignees: list[JsonValue], groups: list[JsonValue], status: int
    ) -> None:
        question = await desk.ask(assignees=assignees)
        made = await desk.post(f"/v1/approvals/{question}/links", SENDER, {"for": "user:bob", "groups": groups})
        assert made.status_code == status
        if status == 403:
            assert made.json()["assignees"] == assignees

    async def test_not_for_what_is_over(self, desk: Desk) -> None:
        question = await desk.ask()
        await desk.decide(question, ANN, YES)
        assert (await desk.post(f"/v1/approvals/{question}/links", ANN, {"for": "user:ann"})).status_code == 409

    @pytest.mark.parametrize(
        "body",
        [{}, {"for": "ann"}, {"for": "team:ops"}, {"for": "user:ann", "expires_seconds": 1}, {"for": "user:a\nb"}],
    )
    async def test_what_is_no_request(self, desk: Desk, body: JsonObject) -> None:
        question = await desk.ask()
        assert (await desk.post(f"/v1/approvals/{question}/links", OWNER, body)).status_code == 422

    async def test_the_same_idempotency_key_gives_the_same_link(self, desk: Desk) -> None:
        question = await desk.ask()
        path, body = f"/v1/approvals/{question}/links", {"for": "user:ann"}
        made = [await desk.post(path, ANN, {**body}, **{"idempotency-key": "k"}) for _ in range(2)]
        assert made[0].json() == made[1].json()
        async with desk.database.system() as conn:
            kept = str(await (await conn.execute("SELECT body FROM idempotency WHERE key = 'k'")).fetchall())
        signature = made[0].json()["url"].rpartition(".")[2]
        assert "nonce" in kept
        assert signature not in kept, "what is kept for a repetition decides nothing"


class TestDecidingByLink:
    async def test_looking_decides_nothing_and_needs_no_identity(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        for added in ("", "", "?utm_source=mail&fbclid=x"):
            seen = await desk.client.get(link + added)
            assert seen.status_code == 200
            assert seen.json()["data"] == {"amount": 120}
            assert seen.json()["may_decide"] is True
            assert seen.headers["cache-control"] == "no-store"
            assert (await desk.client.head(link)).status_code == 405
        assert (await desk.read(question))["status"] == "open"

    async def test_it_works_once(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        assert (await desk.client.post(link, json={"approved": True, "comment": "by mail"})).status_code == 200
        assert [each["by"] for each in await desk.decisions(question)] == ["ann"]
        for again in (await desk.client.post(link, json=YES), await desk.client.get(link)):
            assert again.status_code == 404
            assert again.json()["type"].endswith("/link-not-usable")

    async def test_a_person_has_one_vote_by_whatever_way(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        links = [await desk.link(question, ANN, **{"for": "user:ann"}) for _ in range(2)]
        await desk.decide(question, ANN, YES)
        assert (await desk.client.post(links[0], json=YES)).status_code == 200
        assert (await desk.client.post(links[1], json={"approved": False})).status_code == 409
        assert (await desk.read(question))["status"] == "open"

    async def test_bad_old_and_used_links_look_the_same(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        used = await desk.link(question, ANN, **{"for": "user:ann"})
        await desk.client.post(used, json={"approved": True, "comment": "before"})
        gone = await desk.link(question, BOB, **{"for": "user:bob"})
        await desk.execute("DELETE FROM waits WHERE id = %s", question)
        other = await desk.ask()
        old = await desk.link(other, BOB, **{"for": "user:bob"})
        desk.clock.ahead = 4 * 86_400
        answers: list[JsonObject] = []
        for link in (used, gone, old, f"{old}x", "/v1/approval-links/x", "/v1/approval-links/" + "A" * 3_000):
            for answer in (await desk.client.get(link), await desk.client.post(link, json=YES)):
                assert answer.status_code == 404
                answers.append(
                    {name: value for name, value in answer.json().items() if name not in ("instance", "trace_id")}
                )
        assert all(answer == answers[0] for answer in answers)

    async def test_fifty_at_once(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        said: list[JsonObject] = [{"approved": True, "comment": f"{n % 5}"} for n in range(50)]
        answers = await asyncio.gather(*(desk.client.post(link, json=each) for each in said))
        # One word of five is heard, from each of the ten who said it; nothing else is.
        assert sorted(answer.status_code for answer in answers) == [200] * 10 + [404] * 40
        assert len(await desk.decisions(question)) == 1

    async def test_a_double_click_gets_the_same_answer_for_a_minute(self, desk: Desk) -> None:
        question = await desk.ask()
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        answers = [await desk.client.post(link, json=YES) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        others: list[JsonObject] = [{"approved": False}, {"data": {}}, {"approved": True, "comment": "x"}]
        for other in others:
            assert (await desk.client.post(link, json=other)).status_code == 404
        assert (await desk.client.get(link)).status_code == 404
        async with desk.database.system() as conn:
            await conn.execute("UPDATE used_links SET at = at - interval '1 minute'")
        assert (await desk.client.post(link, json=YES)).status_code == 404
        assert len(await desk.arrived(question)) == 1

    async def test_who_repeats_agrees_to_nothing_new(self, desk: Desk) -> None:
        question = await desk.ask(data=1, quorum=2)
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        await desk.client.post(link, json=YES)
        await desk.decide(question, BOB, {"approved": True, "data": 2})
        for again in (YES, {"approved": True, "proposal": 2}):
            assert (await desk.client.post(link, json=again)).status_code == 404
        assert (await desk.read(question))["status"] == "open"

    async def test_a_mistake_does_not_use_it_up(self, desk: Desk) -> None:
        question = await desk.ask("input", form={"type": "object", "required": ["a"]})
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        bodies: list[JsonValue] = [{"data": {}}, {"approved": True}, [], {"data": {"a": 1}, "more": 1}]
        for body in bodies:
            refused = await desk.client.post(link, json=body)
            assert refused.status_code == 422
            assert refused.json()["errors"]
        assert (
            await desk.client.post(link, content=b"{", headers={"content-type": "application/json"})
        ).status_code == 422
        assert (await desk.client.post(link, json={"data": {"a": 1}})).json()["verdict"] == "answered"

    @pytest.mark.parametrize("media_type", ["", "text/plain", "multipart/form-data"])
    async def test_other_bodies(self, desk: Desk, media_type: str) -> None:
        question = await desk.ask()
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        refused = await desk.client.post(link, content=b"approved=true", headers={"content-type": media_type})
        assert refused.status_code == 415

    async def test_after_the_end_it_says_so(self, desk: Desk) -> None:
        question = await desk.ask()
        link = await desk.link(question, ANN, **{"for": "user:ann"})
        await desk.decide(question, BOB, {"approved": False})
        assert (await desk.client.get(link)).json()["verdict"] == "rejected"
        assert (await desk.client.post(link, json=YES)).status_code == 409

    async def test_a_link_is_of_one_organization(self, desk: Desk) -> None:
        question = await desk.ask(organization=OTHER_ORGANIZATION)
        stranger = person("ann", organization=OTHER_ORGANIZATION)
        link = await desk.link(question, stranger, **{"for": "user:ann"})
        assert (await desk.client.post(link, json=YES)).status_code == 200
        assert (await desk.get(f"/v1/approvals/{question}", OWNER)).status_code == 404
