"""What was used of models for one piece of work, over all the questions that it took."""

from __future__ import annotations

from crewmesh_contracts.invocations import TokenUsage

from crewmesh_agent_crew.models.thinking import Answer
from crewmesh_agent_crew.spending.dollars import told


class Usage:
    """Grows with every answer, used or not."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []

    def add(self, answer: Answer) -> None:
        self._answers.append(answer)

    def told(self) -> TokenUsage:
        """As others are told it; the model is the one that answered last."""
        tokens = [answer.reply.tokens for answer in self._answers]
        return TokenUsage(
            model=self._answers[-1].reply.model if self._answers else "",
            requests=len(self._answers),
            prompt_tokens=sum(each.input for each in tokens),
            completion_tokens=sum(each.output for each in tokens),
            cached_tokens=sum(each.cached for each in tokens),
            cost=told(sum(answer.cost for answer in self._answers)),
        )
