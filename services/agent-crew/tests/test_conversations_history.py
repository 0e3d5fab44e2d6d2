"""What of a long conversation a model is shown, and when it is summed up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from crewmesh_agent_crew.conversations.history import Budgets, documents, history, to_summarize, tokens_of
from crewmesh_agent_crew.conversations.models import File, Role, Spoken
from crewmesh_agent_crew.conversations.works import Works
from crewmesh_testkit.polling import until
from crewmesh_testkit.scripted_model import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st

from .chatting import Person, person, with_agent
from .harness import MODEL_KEY, Running


def spoken(number: int, text: str) -> Spoken:
    role: Role = "user" if number % 2 == 0 else "assistant"
    return Spoken(
        id=f"msg_{number}",
        conversation="conv_1",
        parent=f"msg_{number - 1}" if number else "",
        depth=number,
        role=role,
        text=text,
        attachments=(),
        status="done",
        crew_run=None,
        error=None,
        usage=None,
        added=number,
        at=datetime.now(UTC),
        ended_at=None,
    )


def talk(count: int, size: int = 300) -> list[Spoken]:
    return [spoken(number, f"{number} ".ljust(size, "x")) for number in range(count)]


class TestCutting:
    def test_a_short_talk_is_shown_as_it_is(self) -> None:
        shown = history(talk(4), {}, 10_000)
        assert [message.role for message in shown] == ["user", "assistant", "user", "assistant"]

    @given(count=st.integers(0, 30), budget=st.integers(0, 3_000), summed=st.integers(-1, 29))
    def test_what_is_shown_fits_and_begins_with_a_person(self, count: int, budget: int, summed: int) -> None:
        said = talk(count)
        summaries = {said[summed].id: "They spoke."} if 0 <= summed < count else {}
        shown = history(said, summaries, budget)
        assert [message.role for message in shown] == ["user", "assistant"] * (len(shown) // 2) + ["user"] * (
            len(shown) % 2
        )
        own = sum(tokens_of(message.content) for message in shown)
        assert own <= budget + tokens_of("What was said before this, in short:\nThey spoke.\n\nI remember.") + 24

    def test_a_summary_stands_for_what_was_before_it(self) -> None:
        said = talk(6)
        shown = history(said, {"msg_1": "old", "msg_3": "They spoke of meshes."}, 10_000)
        assert "They spoke of meshes." in shown[0].content
        assert "4 x" in shown[0].content
        assert len(shown) == 2

    def test_a_talk_is_summed_up_before_it_is_too_long(self) -> None:
        assert to_summarize(talk(4), {}, 1_000) is None
        due = to_summarize(talk(10), {}, 1_000)
        assert due is not None
        summary, part = due
        assert summary == ""
        assert [message.id for message in part] == [f"msg_{number}" for number in range(6)]
        assert to_summarize(talk(10), {"msg_5": "short"}, 1_000) is None

    def test_files_are_cut_to_what_fits_the_latest_first(self) -> None:
        files = [File(f"att_{n}", f"{n}.txt", "text/plain", 3_000, b"\xc3\xa4" * 1_500) for n in range(3)]
        shown = documents(files, 1_500)
        assert [document.name for document in shown] == ["0.txt", "1.txt", "2.txt"]
        assert len(shown[2].text) == 1_500
        assert shown[1].text.startswith("ä")
        assert shown[0].text == "\n[The rest of the file is left out.]"


class TestSummaries:
    @pytest.fixture
    async def model(self) -> AsyncGenerator[ScriptedModel]:
        async with ScriptedModel(api_key=MODEL_KEY) as model:
            model.when(shown="Sum up what was said", then="They spoke of the sea.")
            yield model

    @pytest.fixture
    async def ann(self, service: Running, monkeypatch: pytest.MonkeyPatch) -> Person:
        async def small(*_: object) -> Budgets:
            return Budgets(history=400, files=400)

        works = service.resources.get(Works)
        monkeypatch.setattr(works, "budgets_with", small)
        await with_agent(service)
        return await person(service).begin(agent="assistant", title="Long")

    async def test_a_long_talk_goes_on_with_a_summary(self, ann: Person, model: ScriptedModel) -> None:
        for number in range(4):
            await ann.say(f"Message {number} {'x' * 300}")

        async def summed_up() -> bool:
            return any("Sum up what was said" in asked.prompt for asked in model.requests)

        await until(summed_up, seconds=60, what="a summary")

        async def known() -> bool:
            await ann.say("And now?")
            return "They spoke of the sea." in shown()

        def shown() -> str:
            """To whoever answers; a summary is asked of another model."""
            return [asked.prompt for asked in model.requests if asked.model == "fake"][-1]

        await until(known, seconds=90, what="a talk that goes on with it")
        assert "Message 0" not in shown()
