"""What a call costs, and what it may cost at most, in whole nano-dollars.

Before a call nobody knows its tokens: every provider has a tokenizer of its own. What holds for all of them is that no
token is shorter than one byte, so that a text never has more tokens than bytes. Together with what providers add
around messages, tools and images, and never above what the model can read at all, that is the bound. It is some four
times what English text takes; the difference is released a moment later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.catalogue.models import ModelEntry, Rates
from crewmesh_agent_crew.models.calls import Message, ModelCall, Tokens
from crewmesh_agent_crew.spending.charge import NANO

_MILLION = 1_000_000
# What is put around every call, every message and every tool; providers add instructions of their own before tools.
_AROUND_A_CALL = 64
_AROUND_A_MESSAGE = 16
_BEFORE_TOOLS = 1_000
_AROUND_A_TOOL = 32
_BEFORE_A_SCHEMA = 300
# A prompt that has more bytes than this for each token it may have is certainly too long.
_MOST_BYTES_PER_TOKEN = 8


def cost(entry: ModelEntry, tokens: Tokens) -> int:
    """What the call cost, rounded up to whole nano-dollars."""
    rates = _rates(entry, tokens.input)
    special = min(tokens.cached, tokens.input) + min(tokens.written, max(tokens.input - tokens.cached, 0))
    cached = min(tokens.cached, tokens.input)
    written = special - cached
    return _rounded_up(
        (tokens.input - special) * _nano(rates, "input")
        + cached * _nano(rates, "cached")
        + written * _nano(rates, "written")
        + tokens.output * _nano(rates, "output")
    )


def worst_cost(entry: ModelEntry, call: ModelCall) -> int:
    """What the call may cost at most: no answer to it costs more."""
    tokens = most_input_tokens(entry, call)
    return _rounded_up(
        max(
            tokens * max(_nano(rates, kind) for kind in ("input", "cached", "written"))
            + output_limit(entry, call) * _nano(rates, "output")
            for rates in _possible_rates(entry, tokens)
        )
    )


def output_limit(entry: ModelEntry, call: ModelCall) -> int:
    """The most tokens the answer may have; this is what the provider is told."""
    wanted = entry.usual_max_tokens if call.max_tokens is None else call.max_tokens
    return wanted if entry.max_output_tokens is None else min(wanted, entry.max_output_tokens)


def most_input_tokens(entry: ModelEntry, call: ModelCall) -> int:
    images = sum(len(message.images) for message in call.messages)
    bound = _bytes(call) + _overhead(call) + images * entry.image_tokens
    return bound if entry.context_tokens is None else min(bound, entry.context_tokens)


def is_certainly_too_long(entry: ModelEntry, call: ModelCall) -> bool:
    """Whether the model cannot read that much, however its tokenizer works on what people write."""
    return entry.context_tokens is not None and _bytes(call) > entry.context_tokens * _MOST_BYTES_PER_TOKEN


def likely_input_tokens(call: ModelCall) -> int:
    """About what it will be; for rates, which are no money."""
    return _bytes(call) // 4 + _AROUND_A_MESSAGE


def _bytes(call: ModelCall) -> int:
    messages = sum(_message_bytes(message) for message in call.messages)
    tools = sum(len(tool.name) + _size(tool.description) + _json_size(tool.parameters) for tool in call.tools)
    return messages + tools + (0 if call.schema_ is None else _json_size(call.schema_))


def _message_bytes(message: Message) -> int:
    calls = (len(used.name) + _json_size(used.arguments) + _size(used.broken or "") for used in message.tool_calls)
    return _size(message.content) + sum(calls)


def _overhead(call: ModelCall) -> int:
    uses = sum(len(message.tool_calls) for message in call.messages)
    tools = _BEFORE_TOOLS + _AROUND_A_TOOL * (len(call.tools) + uses) if call.tools or uses else 0
    schema = 0 if call.schema_ is None else _BEFORE_A_SCHEMA
    return _AROUND_A_CALL + _AROUND_A_MESSAGE * len(call.messages) + tools + schema


def _rates(entry: ModelEntry, input_tokens: int) -> Rates:
    long = entry.prices.long
    return entry.prices if long is None or input_tokens <= long.beyond else long


def _possible_rates(entry: ModelEntry, input_tokens: int) -> Iterable[Rates]:
    """Those of a call with up to so many tokens: where long ones are cheaper, a shorter one may be the dearer."""
    yield entry.prices
    if _rates(entry, input_tokens) is not entry.prices:
        yield _rates(entry, input_tokens)


def _nano(rates: Rates, kind: str) -> int:
    """Nano-dollars per million tokens."""
    price = {"input": rates.input, "output": rates.output, "cached": rates.cached, "written": rates.written}[kind]
    return int((rates.input if price is None else price) * NANO)


def _rounded_up(nano_per_million: int) -> int:
    return -(-nano_per_million // _MILLION)


def _size(text: str) -> int:
    # Halves of characters cannot be sent; counting them must not fail.
    return len(text.encode("utf-8", "surrogatepass"))


def _json_size(value: JsonObject) -> int:
    return _size(json.dumps(value, ensure_ascii=False))
