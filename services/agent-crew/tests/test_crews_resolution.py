"""A crew as it works: references, presets, prompts and skills filled in, or every mistake with its place."""

from __future__ import annotations

from typing import cast

import pytest
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.resolution import Filling
from crewmesh_agent_crew.crews.shipped import crew_templates, starter_crews
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition
from crewmesh_agent_crew.role_prompts.files import roles
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import ValidationError

from .records_api import agent, crew

SPOKEN = PromptTemplateDefinition.model_validate(
    {
        "name": "spoken",
        "text": "Speak {how}, at most {words} words, of {topic}. Keep {{how}} and {0}.",
        "variables": [{"name": "how"}, {"name": "words", "type": "number", "default": 20}],
    }
)


def filling(*agents: AgentDefinition) -> Filling:
    return Filling({each.name: each for each in agents}, {("spoken", None): SPOKEN, ("spoken", 3): SPOKEN})


def defined(**changes: object) -> CrewDefinition:
    return CrewDefinition.model_validate(crew("c", **changes))


def task(name: str = "t", **changes: object) -> JsonObject:
    return cast(JsonObject, {"name": name, "description": "Do it.", "expected_output": "Words.", **changes})


def test_a_reference_becomes_the_agent_it_names() -> None:
    ann = AgentDefinition.model_validate(agent("ann", preset="writer", role=""))
    work = filling(ann)
    filled = work.crew(defined(agents=[{"use": "ann"}], tasks=[task()]))
    assert work.mistakes == []
    (member,) = filled.agents
    assert isinstance(member, AgentDefinition)
    assert (member.name, member.role, member.goal) == ("ann", roles()["writer"].role, "Write well.")
    assert member.backstory == roles()["writer"].backstory
    assert filled.tasks[0].agent == "ann", "there is only one who could do it"


def test_what_an_agent_says_itself_holds_and_skills_are_added() -> None:
    own = agent(
        "ann", preset="backend", specialization="python", role="Pythonista", goal="", skills=["speed", "python"]
    )
    filled = filling().lone(AgentDefinition.model_validate(own))
    backend = roles()["backend"]
    assert (filled.role, filled.goal) == ("Pythonista", backend.goal)
    assert filled.backstory.startswith(backend.backstory)
    assert "typed Python" in filled.backstory
    assert filled.skills == ("speed", "python", *backend.skills)


@pytest.mark.parametrize("version", [None, 3])
def test_a_prompt_is_filled_in_and_leaves_the_crew_s_inputs(version: int | None) -> None:
    use: JsonObject = {"use": "spoken", "version": version, "variables": {"how": "{topic} softly"}}
    work = filling()
    filled = work.crew(defined(inputs=[{"name": "topic"}], tasks=[task(agent="teller", description="", prompt=use)]))
    assert work.mistakes == []
    assert filled.tasks[0].prompt is None
    assert filled.tasks[0].description == ("Speak {topic} softly, at most 20 words, of {topic}. Keep {{how}} and {0}.")


def test_a_task_goes_to_who_is_best_at_it() -> None:
    agents: list[JsonValue] = [
        agent("ann", skills=["a", "sql"]),
        agent("bob", skills=["sql", "a"]),
        agent("cy", preset="data", role=""),
    ]
    work = filling()
    filled = work.crew(
        defined(agents=agents, tasks=[task("one", skill="sql"), task("two", skill="kafka", agent="ann")])
    )
    assert work.mistakes == []
    assert [each.agent for each in filled.tasks] == ["bob", "ann"]


@pytest.mark.parametrize(
    ("changes", "mistakes"),
    [
        ({"agents": [{"use": "nobody"}]}, {"agents.0.use": "there is no agent 'nobody'"}),
        (
            {"agents": [agent("a", preset="wizard")]},
            {"agents.0.preset": "there is no preset 'wizard'; use one of analyst"},
        ),
        (
            {"agents": [agent("a", preset="qa", specialization="go")]},
            {"agents.0.specialization": "automation, performance, security"},
        ),
        ({"tasks": [task(skill="sql")]}, {"tasks.0.skill": "none of the agents has the skill 'sql'"}),
        (
            {"agents": [agent("a", skills=["sql"]), agent("b", skills=["sql"])], "tasks": [task(skill="sql")]},
            {"tasks.0.skill": "a and b are equally good"},
        ),
        (
            {"tasks": [task(agent="teller", description="", prompt={"use": "spoken", "variables": {"words": "7"}})]},
            {"tasks.0.prompt.variables.how": "missing", "tasks.0.prompt.variables.words": "number"},
        ),
        (
            {"tasks": [task(agent="teller", description="", prompt={"use": "spoken", "version": 2})]},
            {"tasks.0.prompt.use": "no prompt template 'spoken' with a version 2"},
        ),
        (
            {"tasks": [task(agent="teller", description="", prompt={"use": "spoken", "variables": {"how": "x"}})]},
            {"": "{topic} is no declared input"},
        ),
        (
            {"agents": [agent("a", preset="wizard"), {"use": "nobody"}], "tasks": [task(agent="a")]},
            {"agents.0.preset": "wizard", "agents.1.use": "nobody"},
        ),
    ],
)
def test_every_mistake_is_told_with_its_place(changes: JsonObject, mistakes: dict[str, str]) -> None:
    whole = {"agents": [agent("teller")], "tasks": [task()], **changes}
    if "agents" in changes and "tasks" not in changes:
        whole["tasks"] = [task()]
    work = filling()
    work.crew(CrewDefinition.model_validate(crew("c", **whole)))
    told = {mistake.path: mistake.message for mistake in work.mistakes}
    assert told.keys() == mistakes.keys()
    assert all(said in told[path] for path, said in mistakes.items()), told


def test_a_manager_gives_tasks_away_while_it_works() -> None:
    work = filling()
    filled = work.crew(
        defined(process="hierarchical", agents=[agent("boss"), agent("ann")], tasks=[task(skill="anything")])
    )
    assert (work.mistakes, filled.tasks[0].agent) == ([], None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"process": "hierarchical"}, "the process hierarchical needs 2 agents or more"),
        ({"process": "consensus"}, "needs 2 agents"),
        ({"process": "problem-solving"}, "needs 2 agents"),
        ({"process": "code-review"}, "needs 2 agents"),
        ({"process": "anarchy"}, "Input should be"),
        ({"manager": "nobody"}, "the manager 'nobody' is none of the agents"),
        ({"agents": [{"use": "a"}, {"use": "b"}], "tasks": [task()]}, "say which agent does it, or which skill"),
        ({"agents": [{"use": "a"}, {"use": "a"}], "tasks": [task(agent="a")]}, "agent 'a' is there twice"),
        ({"agents": [{"use": "a", "role": "x"}], "tasks": [task(agent="a")]}, "Extra inputs"),
        ({"tasks": [task(agent="teller", prompt={"use": "p"})]}, "a description or a prompt"),
        ({"tasks": [task(agent="teller", description="")]}, "a description or a prompt"),
        ({"tasks": [task("a", agent="teller", context=["b"]), task("b", agent="teller")]}, "'b' is no earlier task"),
        ({"rounds": 0}, "greater than or equal"),
    ],
)
def test_a_crew_that_its_process_cannot_use_is_refused(changes: JsonObject, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        defined(**changes)


def test_shipped_crews_can_work_as_they_are() -> None:
    assert sorted(crew_templates()) == ["analysis", "implementation", "qa", "research"]
    for shipped in (*starter_crews(), *crew_templates().values()):
        work = filling()
        filled = work.crew(shipped)
        assert work.mistakes == [], shipped.name
        assert all(isinstance(member, AgentDefinition) and member.role for member in filled.agents)
