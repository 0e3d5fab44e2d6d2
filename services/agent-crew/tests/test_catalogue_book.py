"""Aliases of aliases: each is looked into once, however many ways lead to it."""

from __future__ import annotations

from crewmesh_agent_crew.catalogue.book import Book


def book(**aliases: tuple[str, ...]) -> Book:
    return Book(deployment={}, deployment_aliases={}, own={}, own_aliases=aliases, accounts={})


def test_more_ways_than_can_be_counted() -> None:
    steps = 60
    ways = {f"s{step}{side}": (f"s{step + 1}a", f"s{step + 1}b") for step in range(steps) for side in "ab"}
    chain = book(**ways, **{f"s{steps}a": ("gpt-4o",), f"s{steps}b": ("gpt-4o-mini", "gpt-4o")}).chain("s0a")
    assert [entry.name for entry in chain] == ["gpt-4o", "gpt-4o-mini"]


def test_what_comes_back_to_itself_is_passed_over() -> None:
    chain = book(one=("two", "gpt-4o"), two=("one", "gpt-4o-mini")).chain("one")
    assert [entry.name for entry in chain] == ["gpt-4o-mini", "gpt-4o"]
