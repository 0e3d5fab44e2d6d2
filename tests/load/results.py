"""What the contest hands back to the benchmark."""

from __future__ import annotations

from pydantic import BaseModel


class Round(BaseModel):
    """One turn of one side; times in milliseconds."""

    loaded: list[float]
    runs_per_second: float


class Contest(BaseModel):
    """By side: times of runs alone, in turns; rounds under load; fan-outs (seconds each). Runs a second of the rest."""

    alone: dict[str, list[list[float]]]
    rounds: dict[str, list[Round]]
    fan_outs: dict[str, list[float]]
    ten_pure: list[float]
    resumed: float
