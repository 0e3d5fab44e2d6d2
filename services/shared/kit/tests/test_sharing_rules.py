"""Who reaches what, as a table: the rules of sharing by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import LEVELS, AccessRequest, Kind, Level, Need, Shared
from crewmesh_kit.sharing.rules import EVERYTHING, Reach, names_of, reach, reaches, sees
from pydantic import ValidationError

THING = Kind("thing", path="things", called="thing")
NEEDS = {
    "view": Need(THING, "view", "things:read", seeing="things:read"),
    "run": Need(THING, "run", "things:run", seeing="things:read"),
    "edit": Need(THING, "edit", "things:write", seeing="things:read"),
}
USER = "usr_" + "1" * 32
TEAM = "team:team_" + "2" * 32
ALL = frozenset({"things:read", "things:run", "things:write"})

ANNA = Identity("org_1", USER, ALL, frozenset({"role:editor", TEAM}))
VIEWER = replace(ANNA, permissions=frozenset({"things:read"}), groups=frozenset({"role:viewer", TEAM}))
NOBODY_MUCH = replace(ANNA, permissions=frozenset[str](), groups=frozenset({"role:role_x"}))
ADMIN = replace(ANNA, groups=frozenset({"role:admin"}))
KEY = Identity("org_1", "key_" + "3" * 32, ALL, frozenset({"role:editor", TEAM}), acting_for=USER)
RUN = Identity("org_1", "run_" + "4" * 32, ALL, frozenset({"workflow:wf_1"}))


def granted(grantee: str, level: Level, *, restricted: bool) -> Shared:
    return Shared(restricted, {grantee: level})


@pytest.mark.parametrize("level", LEVELS)
def test_without_an_access_the_role_decides(level: Level) -> None:
    need = NEEDS[level]
    assert reaches(ANNA, need, "t", None)
    assert reach(ANNA, need, {}) == EVERYTHING
    assert not reaches(NOBODY_MUCH, need, "t", None)
    assert reach(NOBODY_MUCH, need, {}).nothing


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("granted_level", LEVELS)
@pytest.mark.parametrize("grantee", [f"user:{USER}", TEAM])
def test_what_is_restricted_is_reached_by_its_grants_alone(grantee: str, granted_level: Level, level: Level) -> None:
    enough = LEVELS.index(granted_level) >= LEVELS.index(level)
    access = granted(grantee, granted_level, restricted=True)
    assert reaches(ANNA, NEEDS[level], "t", access) == enough
    assert ("t" in reach(ANNA, NEEDS[level], {"t": access})) == enough
    assert "other" in reach(ANNA, NEEDS[level], {"t": access})
    assert not reaches(ANNA, NEEDS[level], "t", Shared(restricted=True, grants={}))


def test_a_grant_gives_a_person_what_the_role_does_not() -> None:
    access = granted(f"user:{USER}", "edit", restricted=False)
    for level in LEVELS:
        assert reaches(NOBODY_MUCH, NEEDS[level], "t", access)
        assert reach(NOBODY_MUCH, NEEDS[level], {"t": access, "u": Shared(True, {})}) == Reach(only=frozenset({"t"}))
        assert not reaches(NOBODY_MUCH, NEEDS[level], "u", None)


def test_a_key_never_does_more_than_its_scopes() -> None:
    access = granted(f"user:{USER}", "edit", restricted=True)
    assert reaches(KEY, NEEDS["edit"], "t", access), "it acts for Anna, who was let in"
    scoped = replace(KEY, permissions=frozenset({"things:read"}))
    assert reaches(scoped, NEEDS["view"], "t", access)
    assert not reaches(scoped, NEEDS["edit"], "t", access)
    assert reach(scoped, NEEDS["edit"], {"t": access}).nothing


def test_nothing_is_locked_away_from_owners_and_admins_but_their_scoped_keys_stay_scoped() -> None:
    locked = Shared(restricted=True, grants={})
    assert reaches(ADMIN, NEEDS["edit"], "t", locked)
    assert reaches(
        replace(ANNA, permissions=frozenset({"*"}), groups=frozenset({"role:owner"})), NEEDS["edit"], "t", locked
    )
    scoped = replace(ADMIN, subject=KEY.subject, acting_for=USER, permissions=frozenset({"things:read"}))
    assert reaches(scoped, NEEDS["view"], "t", locked)
    assert not reaches(scoped, NEEDS["edit"], "t", locked)


def test_a_run_reaches_what_its_workflow_was_granted() -> None:
    assert reaches(RUN, NEEDS["run"], "t", None)
    assert not reaches(RUN, NEEDS["run"], "t", Shared(restricted=True, grants={}))
    assert reaches(RUN, NEEDS["run"], "t", granted("workflow:wf_1", "run", restricted=True))
    assert not reaches(RUN, NEEDS["run"], "t", granted("workflow:wf_2", "run", restricted=True))


def test_a_run_reaches_its_own_workflow() -> None:
    own = Need(Kind("workflow", "workflows", "workflow"), "run", "things:run", seeing="things:read")
    locked = Shared(restricted=True, grants={})
    assert reaches(RUN, own, "wf_1", locked)
    assert not reaches(RUN, own, "wf_2", locked)


def test_hidden_and_merely_not_allowed_are_told_apart() -> None:
    to_view = granted(TEAM, "view", restricted=True)
    assert sees(ANNA, NEEDS["edit"], "t", to_view)
    assert not reaches(ANNA, NEEDS["edit"], "t", to_view)
    assert not sees(ANNA, NEEDS["edit"], "t", Shared(restricted=True, grants={}))
    assert sees(VIEWER, NEEDS["edit"], "t", None)
    assert not sees(NOBODY_MUCH, NEEDS["edit"], "t", None)


def test_who_is_meant_by_a_grantee() -> None:
    assert names_of(ANNA) == {f"user:{USER}", "role:editor", TEAM}
    assert names_of(KEY) == names_of(ANNA)
    assert "service-account:sva_1" in names_of(replace(KEY, acting_for="sva_1"))
    assert names_of(RUN) == {"workflow:wf_1"}


@pytest.mark.parametrize(
    "grantee",
    ["", "user:", "usr_" + "1" * 32, "user:*", "role:*", "role:Owner", "team:ops", "user:USR_" + "1" * 32, "*",
     "user:usr_" + "1" * 32 + "\n", "workflow:" + "a" * 500, "crew:answer-desk", "agent:crew_" + "1" * 32],
)  # fmt: skip
def test_a_grantee_is_named_exactly(grantee: str) -> None:
    with pytest.raises(ValidationError):
        AccessRequest.model_validate({"grants": [{"grantee": grantee, "level": "view"}]})


@pytest.mark.parametrize("grantee", ["workflow:wf_", "crew:crew_", "agent:agt_"])
def test_what_works_by_itself_is_a_grantee(grantee: str) -> None:
    AccessRequest.model_validate({"grants": [{"grantee": grantee + "1" * 32, "level": "view"}]})


def test_a_grantee_is_named_once() -> None:
    twice = [{"grantee": "role:viewer", "level": level} for level in ("view", "edit")]
    with pytest.raises(ValidationError, match="more than once"):
        AccessRequest.model_validate({"grants": twice})
