"""What was used of models for one piece of work, over all the questions that it took."""

from __future__ import annotations

from crewmesh_contracts.base import Contract
from crewmesh_contracts.invocations import TokenUsage

from crewmesh_agent_crew.models.thinking import Answer
from crewmesh_agent_crew.spending.dollars import told


class Used(Contract):
    """``model``: the one that answered last. ``cost``: in nano-dollars."""

    model: str = ""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0

    def and_(self, answer: Answer) -> Used:
        """With one more answer, whatever it was good for."""
        tokens = answer.reply.tokens
        return self + Used(
            model=answer.reply.model,
            requests=1,
            prompt_tokens=tokens.input,
            completion_tokens=tokens.output,
            cached_tokens=tokens.cached,
            cost=answer.cost,
        )

    def __add__(self, other: Used) -> Used:
        return Used(
            model=other.model or self.model,
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=self.cost + other.cost,
        )

    def told(self) -> TokenUsage:
        """As others are told it: the cost in dollars."""
        return TokenUsage(**self.model_dump(exclude={"cost"}), cost=told(self.cost))
