"""The roles that are shipped: complete, bounded, and shown."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.role_prompts.files import presets_with, read_role, roles

from .harness import Running
from .records_api import slug

NAMES = (
    *("analyst", "backend", "data", "designer", "devops", "frontend", "mobile"),
    *("project-manager", "qa", "researcher", "security", "tech-lead", "writer"),
)


def test_thirteen_roles_are_there() -> None:
    assert tuple(roles()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_role_says_what_to_do_how_and_what_not_to_do(name: str) -> None:
    role = roles()[name]
    assert 600 < len(role.backstory) < 2_500, "a prompt is paid for with every call"
    assert "How you work:" in role.backstory
    assert "What you hand over:" in role.backstory
    assert any(word in role.backstory for word in ("Do not", "Never", "do not"))
    assert len(role.specializations) >= 2
    names = [special.name for special in role.specializations]
    assert len(set(names)) == len(names)
    for special in role.specializations:
        specialized = role.specialized(special.name)
        assert specialized is not None
        assert specialized.backstory.endswith(special.backstory)
        assert specialized.skills[: len(special.skills)] == special.skills
    assert role.specialized("nothing") is None


def test_roles_are_found_by_what_they_can_do() -> None:
    assert presets_with("sql") == ("data",)
    assert presets_with("testing") == ("backend", "frontend", "mobile", "qa")
    assert presets_with(None) == ()


@pytest.mark.parametrize("text", ["", "name: x", "---\n- a\n---\ntext", "---\nrole: R\n---\ntext"])
def test_a_file_that_is_no_role_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="role"):
        read_role("broken", text)


async def test_roles_and_templates_are_listed_in_pages_and_shown(service: Running) -> None:
    first = (await service.get("/v1/agent-roles?limit=10")).json()
    rest = (await service.get(f"/v1/agent-roles?limit=10&cursor={first['next_cursor']}")).json()
    assert tuple(role["name"] for role in (*first["items"], *rest["items"])) == NAMES
    assert rest["next_cursor"] is None
    backend = (await service.get("/v1/agent-roles/backend")).json()
    assert [special["name"] for special in backend["specializations"]] == ["python", "go", "node", "java"]
    for unknown in ("wizard", "__class__", "..%2Fbackend", "x" * 3000):
        assert slug(await service.get(f"/v1/agent-roles/{unknown}"))[0] == 404, unknown
    nobody = service.who("knowledge:read")
    for path in ("/v1/agent-roles", "/v1/agent-roles/backend", "/v1/crews/templates"):
        assert (await service.get(path, who=nobody)).status_code == 403

    templates = (await service.get("/v1/crews/templates")).json()["items"]
    assert [template["name"] for template in templates] == ["analysis", "implementation", "qa", "research"]
    for template in templates:
        made = await service.post("/v1/crews", template["definition"])
        assert (made.status_code, made.json()["warnings"]) == (201, []), made.text
