"""What a call cost when nobody says so: as much as it may have."""

from __future__ import annotations

from crewmesh_agent_crew.catalogue.costs import most_input_tokens, output_limit
from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink, Tokens


class Overheard:
    """Stands before the sink of a call and counts the bytes that came: no token is shorter than one.

    ``sink`` is what is given to the router: none where nobody listens, for then the answer is not streamed.
    """

    def __init__(self, sink: TextSink | None) -> None:
        self._sink = sink
        self.bytes = 0

    @property
    def sink(self) -> TextSink | None:
        return None if self._sink is None else self

    def add(self, text: str) -> None:
        self.bytes += len(text.encode("utf-8", "surrogatepass"))
        if self._sink is not None:
            self._sink.add(text)

    def restart(self) -> None:
        if self._sink is not None:
            self._sink.restart()


def tokens_at_most(entry: ModelEntry, call: ModelCall, overheard: Overheard) -> Tokens:
    """Of a call that broke off. Silence is no proof of idleness: a model thinks to itself before it speaks."""
    output = output_limit(entry, call)
    if overheard.bytes:
        output = min(output, overheard.bytes)
    return Tokens(input=most_input_tokens(entry, call), output=output)


def tokens_of(entry: ModelEntry, call: ModelCall, reply: ModelReply) -> Tokens:
    """As the provider counted; where it does not, as many as there may have been."""
    if reply.tokens.input or reply.tokens.output:
        return reply.tokens
    said = len(reply.text.encode("utf-8", "surrogatepass")) + sum(
        len(used.name) + len(str(used.arguments)) + len(used.broken or "") for used in reply.tool_calls
    )
    return Tokens(input=most_input_tokens(entry, call), output=min(max(said, 1), output_limit(entry, call)))
