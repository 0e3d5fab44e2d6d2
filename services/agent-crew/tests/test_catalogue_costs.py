"""What a call costs, exactly; and that no answer to it costs more than is reserved."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from crewmesh_agent_crew.catalogue.built_in import BUILT_IN_ALIASES, built_in
from crewmesh_agent_crew.catalogue.costs import (
    cost,
    is_certainly_too_long,
    most_input_tokens,
    output_limit,
    worst_cost,
)
from crewmesh_agent_crew.catalogue.deployment import deployment_models
from crewmesh_agent_crew.catalogue.models import FREE, LongRates, ModelEntry, Prices
from crewmesh_agent_crew.models.calls import Message, ModelCall, Tokens
from crewmesh_agent_crew.settings import EMBEDDED_MODEL, ModelSettings
from crewmesh_tools.model_prices import TARGET, text
from hypothesis import given
from hypothesis import strategies as st

from .routing_parts import entry, question

PRICED = Prices(
    input=Decimal("2"),
    output=Decimal("10"),
    cached=Decimal("0.1"),
    written=Decimal("2.5"),
    long=LongRates(beyond=1_000, input=Decimal("4"), output=Decimal("15"), cached=Decimal("0.2"), written=Decimal("5")),
)
rates = st.decimals(0, 1_000, places=9)
prices = st.builds(
    Prices,
    input=rates,
    output=rates,
    cached=st.none() | rates,
    written=st.none() | rates,
    long=st.none() | st.builds(LongRates, beyond=st.integers(1, 500), input=rates, output=rates, cached=rates),
)


def priced(prices: Prices = PRICED, **more: int) -> ModelEntry:
    return entry("model", prices=prices).model_copy(update=more)


@pytest.mark.parametrize(
    ("tokens", "dollars"),
    [
        (Tokens(), "0"),
        (Tokens(input=1_000, output=100), "0.003"),
        (Tokens(input=1_000, output=100, cached=400), "0.00224"),
        (Tokens(input=1_000, output=100, cached=400, written=200), "0.00234"),
        (Tokens(input=1_001, output=100), "0.005504"),
        # Counted oddly: no part of the input is charged twice, and none for less than nothing.
        (Tokens(input=100, cached=500, written=500), "0.00001"),
    ],
)
def test_every_kind_of_token_has_its_price(tokens: Tokens, dollars: str) -> None:
    assert cost(priced(), tokens) == Decimal(dollars) * 1_000_000_000


def test_a_single_token_of_the_cheapest_model_costs_something() -> None:
    cheapest = priced(Prices(input=Decimal("0.000001"), output=Decimal(0)))
    assert cost(cheapest, Tokens(input=1)) == 1
    assert cost(priced(FREE), Tokens(input=1_000_000, output=1_000_000)) == 0


@given(prices, st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 2_000))
def test_it_is_exact_and_rounded_up(prices: Prices, input_: int, output: int, cached: int, written: int) -> None:
    tokens = Tokens(input=input_, output=output, cached=min(cached, input_), written=0)
    charged = prices if prices.long is None or input_ <= prices.long.beyond else prices.long
    cached_rate = charged.input if charged.cached is None else charged.cached
    exactly = (
        Fraction(charged.input) * (tokens.input - tokens.cached)
        + Fraction(cached_rate) * tokens.cached
        + Fraction(charged.output) * output
    ) * 1_000
    assert 0 <= cost(priced(prices), tokens) - exactly < 1


@given(
    prices,
    st.text(max_size=300),
    st.integers(1, 500),
    st.none() | st.integers(1, 400),
    st.data(),
)
def test_no_answer_costs_more_than_the_worst(
    prices: Prices, words: str, most: int, context: int | None, data: st.DataObject
) -> None:
    model = priced(prices).model_copy(update={"context_tokens": context, "max_output_tokens": 200})
    call = question(words, max_tokens=most)
    tokens = data.draw(st.integers(0, most_input_tokens(model, call)))
    cached = data.draw(st.integers(0, tokens))
    written = data.draw(st.integers(0, tokens - cached))
    output = data.draw(st.integers(0, output_limit(model, call)))
    paid = cost(model, Tokens(input=tokens, output=output, cached=cached, written=written))
    assert paid <= worst_cost(model, call)


class TestTokensAtMost:
    @pytest.mark.parametrize(
        "words", ["", "plain words", "Füße", "漢字かな交じり文", "🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 20, "\0\x01\x02", "\ud800 half", " " * 500]
    )
    def test_no_text_has_more_than_bytes(self, words: str) -> None:
        assert most_input_tokens(priced(), question(words)) >= len(words.encode("utf-8", "surrogatepass"))

    def test_everything_that_is_sent_counts(self) -> None:
        plain = question("Look.")
        tool = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "x": "y" * 500}}
        used = {"role": "assistant", "tool_calls": ({"id": "1", "name": "look", "arguments": {"at": "n" * 500}},)}
        image = {"media_type": "image/png", "data": "aGk="}
        seen = {"role": "user", "content": "Look.", "images": (image, image)}
        for more in (
            question("Look.", tools=(tool,)),
            question("Look.", schema_={"type": "object", "description": "d" * 500}),
            question(messages=({"role": "user", "content": "Look."}, used)),
        ):
            assert most_input_tokens(priced(), more) >= most_input_tokens(priced(), plain) + 500
        with_images = question(messages=(seen,))
        difference = most_input_tokens(priced(), with_images) - most_input_tokens(priced(), plain)
        assert difference == 2 * priced().image_tokens

    def test_never_more_than_can_be_read(self) -> None:
        assert most_input_tokens(priced(context_tokens=1_000), question("x" * 100_000)) == 1_000

    def test_what_is_certainly_too_long(self) -> None:
        words = question("word " * 1_000)
        assert is_certainly_too_long(priced(context_tokens=100), words)
        assert not is_certainly_too_long(priced(context_tokens=1_000), words)
        assert not is_certainly_too_long(priced(), words)


def test_the_longest_answer_is_what_is_asked_for_and_what_can_be_given() -> None:
    model = priced(max_output_tokens=1_000, usual_max_tokens=300)
    call = ModelCall(messages=(Message(role="user", content="?"),))
    limits = [output_limit(model, call.model_copy(update={"max_tokens": most})) for most in (None, 50, 5_000)]
    assert limits == [300, 50, 1_000]


def unsaid(**more: int) -> ModelEntry:
    return ModelEntry.model_validate(priced().model_dump(exclude={"usual_max_tokens"}) | more)


@pytest.mark.parametrize(
    ("entry", "usual"),
    [
        (unsaid(), 4_096),
        (unsaid(context_tokens=8_192), 2_048),
        (unsaid(max_output_tokens=1_000), 1_000),
        (unsaid(context_tokens=2), 1),
        (deployment_models(ModelSettings(name="qwen"))["qwen"], 4_096),
        (deployment_models(ModelSettings(name="qwen", context_tokens=8_192))["qwen"], 2_048),
        (deployment_models(ModelSettings(name="qwen", max_tokens=700))["qwen"], 700),
        (deployment_models(ModelSettings())[EMBEDDED_MODEL], 256),
    ],
)
def test_the_longest_answer_where_nobody_says(entry: ModelEntry, usual: int) -> None:
    assert output_limit(entry, ModelCall(messages=(Message(role="user", content="?"),))) == usual


class TestBuiltIn:
    def test_the_file_is_as_the_tool_writes_it(self) -> None:
        written = TARGET.read_text(encoding="utf-8")
        day = json.loads(written)["price_version"].rsplit(" ", 1)[1]
        assert written == text(date.fromisoformat(day))

    def test_every_model_has_a_price_and_a_longest_answer(self) -> None:
        for model in built_in().values():
            assert model.prices.input > 0, model.name
            assert model.prices.output > 0, model.name
            assert model.max_output_tokens is not None, model.name

    def test_aliases_lead_to_models(self) -> None:
        for chain in BUILT_IN_ALIASES.values():
            assert chain[-1] == "default"
            assert set(chain[:-1]) <= set(built_in())

    def test_names_are_told_once(self) -> None:
        names = [model["name"] for model in json.loads(TARGET.read_text(encoding="utf-8"))["models"]]
        assert len(names) == len(set(names))
