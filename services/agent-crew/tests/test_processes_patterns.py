"""What each process makes of what its agents say."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.crew_runs.stage import Turn
from crewmesh_agent_crew.processes import run_process
from crewmesh_contracts.base import JsonObject, JsonValue

from .scripted_stage import CrashError, ScriptedStage, agent, crew, task

DATA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def kind(turn: Turn) -> str:
    """What is wanted of a turn: free words, or which data."""
    properties = (turn.output_schema or {}).get("properties")
    return next(iter(properties)) if isinstance(properties, dict) else "words"


def heard(turn: Turn) -> list[str]:
    return [said.text for said in turn.shown]


class TestSequential:
    async def test_a_task_is_shown_the_results_it_names_and_no_others(self) -> None:
        stage = ScriptedStage(
            crew(
                "sequential",
                task("one", agent="ada"),
                task("two", agent="ben"),
                task("three", "Sum {topic} up.", agent="cem", context=["two"]),
                inputs=[{"name": "topic"}],
            ),
            lambda turn: f"{turn.agent.name}'s",
            inputs={"topic": "{x} cats"},
        )
        outcome = await run_process(stage)
        assert [(said.agent, said.task, said.text) for said in outcome.said] == [
            ("ada", "one", "ada's"),
            ("ben", "two", "ben's"),
            ("cem", "three", "cem's"),
        ]
        last = stage.given[-1]
        assert (last.instruction, last.expected, heard(last)) == ("Sum {x} cats up.", "three done", ["ben's"])
        assert outcome.text == "cem's"

    async def test_a_task_goes_to_who_has_the_skill(self) -> None:
        members = [agent("ada"), agent("ben", "sql")]
        definition = crew("sequential", task("one", skill="sql")).model_copy(update={"agents": tuple(members)})
        stage = ScriptedStage(definition, lambda _: "ok")
        assert (await run_process(stage)).said[0].agent == "ben"


class TestParallel:
    async def test_what_does_not_wait_goes_at_the_same_time(self) -> None:
        stage = ScriptedStage(
            crew(
                "parallel",
                *(task(f"t{n}", agent="ada") for n in range(5)),
                task("all", agent="ben", context=[f"t{n}" for n in range(5)]),
            ),
            lambda turn: turn.task,
        )
        outcome = await run_process(stage)
        assert stage.most_at_once == 5
        assert heard(stage.given[-1]) == ["t0", "t1", "t2", "t3", "t4"]
        assert [said.task for said in outcome.said] == ["t0", "t1", "t2", "t3", "t4", "all"]

    async def test_when_one_fails_the_others_come_to_their_end(self) -> None:
        def script(turn: Turn) -> JsonValue:
            if turn.task == "bad":
                raise CrashError
            return "ok"

        tasks = [task("bad", agent="ada"), task("good", agent="ben"), task("after", agent="cem", context=["good"])]
        stage = ScriptedStage(crew("parallel", *tasks, task("never", agent="ada", context=["bad"])), script)
        with pytest.raises(CrashError):
            await run_process(stage)
        assert set(stage.journal) == {"good/ben/1", "after/cem/1"}


class TestHierarchical:
    async def test_the_manager_gives_work_away_and_has_the_last_word(self) -> None:
        asked = 'use delegate_work {"coworker": "ben", "task": "Do half.", "context": "It is late."}'
        stage = ScriptedStage(crew("hierarchical", task("one", asked)), lambda turn: f"{turn.agent.name} did")
        outcome = await run_process(stage)
        managing, delegated = stage.given
        assert [helper.spec.name for helper in managing.helpers] == ["delegate_work", "ask_coworker"]
        assert (delegated.agent.name, delegated.instruction, delegated.to) == ("ben", "Do half.\n\nIt is late.", "ada")
        assert [(said.agent, said.text) for said in outcome.said] == [("ada", "ben did")]

    async def test_who_was_given_work_may_ask_and_who_is_asked_may_not(self) -> None:
        question = 'use ask_coworker {\\"coworker\\": \\"cem\\", \\"question\\": \\"Why?\\"}'
        asked = f'use delegate_work {{"coworker": "ben", "task": "{question}"}}'
        stage = ScriptedStage(crew("hierarchical", task("one", asked)), lambda _: "because")
        assert (await run_process(stage)).text == "because"
        _, delegated, answering = stage.given
        assert [helper.spec.name for helper in delegated.helpers] == ["ask_coworker"]
        assert (answering.agent.name, answering.to, answering.helpers) == ("cem", "ben", ())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"coworker": "zoe", "task": "x"}, "no such coworker"),
            ({"coworker": "ada", "task": "x"}, "no such coworker"),
            ({"task": "x"}, "no such coworker"),
            ({"coworker": ["ben"], "task": "x"}, "no such coworker"),
            ({"coworker": "ben"}, "write the task"),
            ({"coworker": "ben", "task": "  "}, "write the task"),
            ({"coworker": " BEN ", "task": "x"}, "ok"),
            ({"coworker": "the cem", "task": "x"}, "ok"),
        ],
    )
    async def test_what_the_manager_gets_wrong_is_told_to_it(self, arguments: JsonObject, said: str) -> None:
        stage = ScriptedStage(crew("hierarchical", task("one")), lambda _: "ok")
        await run_process(stage)
        (delegate, _) = stage.given[0].helpers
        assert said in await delegate.use(arguments)

    async def test_coworkers_are_found_by_what_only_one_of_them_can(self) -> None:
        members = (agent("ada"), agent("ben", "sql", "go"), agent("cem", "go"))
        definition = crew("hierarchical", task("one")).model_copy(update={"agents": members})
        stage = ScriptedStage(definition, lambda turn: turn.agent.name)
        await run_process(stage)
        (delegate, ask) = stage.given[0].helpers
        assert await delegate.use({"coworker": "sql", "task": "x"}) == "ben"
        assert "no such coworker" in await delegate.use({"coworker": "go", "task": "x"})
        assert "ben (The ben, skilled in sql, go); cem (The cem, skilled in go)" in ask.spec.description

    async def test_a_named_manager_leads_and_is_told_whom_a_task_is_meant_for(self) -> None:
        stage = ScriptedStage(crew("hierarchical", task("one", agent="ada"), manager="cem"), lambda _: "ok")
        await run_process(stage)
        assert stage.given[0].agent.name == "cem"
        assert stage.given[0].instruction.endswith("meant for your coworker ada.")


class TestConsensus:
    async def test_it_ends_as_soon_as_all_agree(self) -> None:
        stage = ScriptedStage(
            crew("consensus", task("one")),
            lambda turn: {"vote": "cem"} if kind(turn) == "vote" else f"{turn.agent.name}'s",
        )
        outcome = await run_process(stage)
        assert outcome.text == "cem's"
        votes = {"ada": "cem", "ben": "cem", "cem": "cem"}
        assert outcome.data == {"agreed": True, "winner": "cem", "votes": votes, "rounds": 1}
        assert len(stage.given) == 6
        assert stage.most_at_once == 3

    async def test_they_better_their_answers_until_the_last_vote_decides_and_of_equals_the_first_wins(self) -> None:
        stage = ScriptedStage(
            crew("consensus", task("one"), rounds=2),
            lambda turn: {"vote": turn.agent.name} if kind(turn) == "vote" else f"{len(heard(turn))} heard",
        )
        outcome = await run_process(stage)
        assert outcome.text == "3 heard"
        votes = {name: name for name in ("ada", "ben", "cem")}
        assert outcome.data == {"agreed": False, "winner": "ada", "votes": votes, "rounds": 2}
        assert len(stage.given) == 12

    async def test_votes_in_words_count_where_they_are_clear(self) -> None:
        words = {"ada": "I think Ben's is best.", "ben": "ben or cem", "cem": "Ben!"}
        stage = ScriptedStage(
            crew("consensus", task("one"), rounds=1),
            lambda turn: words[turn.agent.name] if kind(turn) == "vote" else f"{turn.agent.name}'s",
        )
        outcome = await run_process(stage)
        assert outcome.text == "ben's"
        assert isinstance(outcome.data, dict)
        assert outcome.data["votes"] == {"ada": "ben", "ben": None, "cem": "ben"}

    async def test_data_that_was_wanted_is_the_result(self) -> None:
        stage = ScriptedStage(
            crew("consensus", task("one", output_schema=DATA)),
            lambda turn: {"vote": "ben"} if kind(turn) == "vote" else {"n": len(turn.agent.name)},
        )
        assert (await run_process(stage)).data == {"n": 3}

    async def test_voters_use_no_tools(self) -> None:
        stage = ScriptedStage(crew("consensus", task("one")), lambda turn: {"vote": "ben"})
        await run_process(stage)
        assert all(turn.or_text and not turn.agent.tools for turn in stage.given if kind(turn) == "vote")


class TestProblemSolving:
    async def test_one_asks_the_others_answer_and_the_best_is_bettered(self) -> None:
        def script(turn: Turn) -> JsonValue:
            if kind(turn) == "vote":
                return {"vote": "cem"}
            return f"{turn.agent.name} heard {len(turn.shown)}"

        stage = ScriptedStage(crew("problem-solving", task("one", agent="ben")), script)
        outcome = await run_process(stage)
        spoke = [(turn.agent.name, kind(turn)) for turn in stage.given]
        words = [("ben", "words"), ("ada", "words"), ("cem", "words")]
        assert spoke == [*words, ("ben", "vote"), ("ada", "vote"), ("cem", "vote"), ("cem", "words")]
        assert outcome.text == "cem heard 3"
        assert isinstance(outcome.data, dict)
        assert (outcome.data["question"], outcome.data["winner"]) == ("ben heard 0", "cem")


class TestCodeReview:
    async def test_the_author_goes_on_until_all_approve(self) -> None:
        def script(turn: Turn) -> JsonValue:
            if kind(turn) == "verdict":
                fine = turn.agent.name == "cem" or heard(turn)[-1] == "second"
                return {"verdict": "approve" if fine else "changes", "comments": f"{turn.agent.name} says"}
            return "second" if turn.shown else "first"

        stage = ScriptedStage(crew("code-review", task("one", agent="ada")), script)
        outcome = await run_process(stage)
        assert outcome.text == "second"
        assert outcome.data == {"approved": True, "verdicts": {"ben": "approve", "cem": "approve"}, "rounds": 2}
        reworking = stage.given[3]
        assert heard(reworking)[0] == "first"
        assert len(heard(reworking)) == 2  # its last version and the one review that wants changes
        assert stage.given[1].to == "ada"

    async def test_the_rounds_are_bounded_and_the_result_says_so(self) -> None:
        stage = ScriptedStage(
            crew("code-review", task("one"), rounds=2),
            lambda turn: {"verdict": "changes", "comments": "no"} if kind(turn) == "verdict" else "work",
        )
        outcome = await run_process(stage)
        assert isinstance(outcome.data, dict)
        assert (outcome.data["approved"], outcome.data["rounds"]) == (False, 2)
        assert len(stage.given) == 6

    @pytest.mark.parametrize(
        ("words", "approved"),
        [
            ("I approve.", True),
            ("Approved, well done", True),
            ("I do not approve.", False),
            ("Approve after these changes", False),
            ("disapprove", False),
            ("", False),
        ],
    )
    async def test_reviews_in_words(self, words: str, approved: bool) -> None:
        stage = ScriptedStage(
            crew("code-review", task("one"), rounds=1, agents="ada ben"),
            lambda turn: words if kind(turn) == "verdict" else "work",
        )
        outcome = await run_process(stage)
        assert isinstance(outcome.data, dict)
        assert outcome.data["approved"] is approved


class TestStandup:
    async def test_everybody_reports_and_the_lead_sums_up(self) -> None:
        def script(turn: Turn) -> JsonValue:
            if kind(turn) == "done":
                return {"done": turn.agent.name, "next": "", "blocked": "by rain"}
            return f"{len(turn.shown)} are blocked"

        stage = ScriptedStage(crew("standup", task("one"), manager="ben"), script)
        outcome = await run_process(stage)
        assert outcome.text == "3 are blocked"
        assert (stage.given[-1].agent.name, stage.most_at_once) == ("ben", 3)
        assert isinstance(outcome.data, dict)
        assert outcome.data["reports"] == {
            name: {"done": name, "next": "", "blocked": "by rain"} for name in ("ada", "ben", "cem")
        }
