"""What the contest hands back to the benchmark."""

from __future__ import annotations

from pydantic import BaseModel


class Round(BaseModel):
    """One turn of one side; times in milliseconds."""

    alone: list[float]
    loaded: list[float]
    runs_per_second: float


class Contest(BaseModel):
    """Rounds and fan-outs (seconds each) by side; runs a second of the rest."""

    rounds: dict[str, list[Round]]
    fan_outs: dict[str, list[float]]
    ten_pure: list[float]
    resumed: float
