from typing import Literal

import pytest
from crewmesh_kit.errors import Conflict, Problem
from crewmesh_kit.problems_reference import SlugMeansTwoThings, problems_page
from crewmesh_kit.settings import CommaSeparatedPorts, ServiceSettings, SettingsGroup
from crewmesh_kit.settings_reference import settings_page
from pydantic import Field, SecretStr


class OvenSettings(SettingsGroup):
    degrees: float = Field(default=180.0, gt=0, le=300, description="How hot | in Celsius.")
    fan: bool = Field(default=False, description="Whether the fan turns.")
    mode: Literal["top", "bottom"] = Field(default="top", description="Where the heat comes from.")
    doors: CommaSeparatedPorts = Field(default=(1, 2), description="Which doors there are.")
    code: SecretStr | None = Field(default=SecretStr(""), description="Opens it.")


class KitchenSettings(ServiceSettings):
    oven: OvenSettings = OvenSettings()


def test_settings_are_told_with_variable_bounds_default_and_meaning() -> None:
    page = settings_page({"kitchen": KitchenSettings, "hall": ServiceSettings})
    kitchen = page.split("## kitchen")[1].split("## hall")[0]
    assert [line for line in kitchen.splitlines() if line.startswith("| `")] == [
        "| `CREWMESH_OVEN__DEGREES` | number above 0 to 300 | `180.0` | How hot \\| in Celsius. |",
        "| `CREWMESH_OVEN__FAN` | `true` or `false` | `false` | Whether the fan turns. |",
        "| `CREWMESH_OVEN__MODE` | `top` or `bottom` | `top` | Where the heat comes from. |",
        "| `CREWMESH_OVEN__DOORS` | list | `1,2` | Which doors there are. |",
        "| `CREWMESH_OVEN__CODE` | secret |  | Opens it. |",
    ]
    assert "`APP_PORT` | integer from 0 to 65535 | `8080`" in page.split("## kitchen")[0]


def test_problems_are_told_with_their_consequences() -> None:
    page = problems_page()
    assert "| 409 | [`operation-in-progress`](#operation-in-progress) | yes | Operation in progress |" in page
    assert "## not-found\n\nThere is no such thing, or it belongs to another organization.\n" in page


def test_one_slug_has_one_meaning() -> None:
    class Contradiction(Conflict):
        """The same slug as its parent, and another status."""

        status = 410

    try:
        with pytest.raises(SlugMeansTwoThings, match="Contradiction"):
            problems_page()
    finally:
        Contradiction.slug, Contradiction.status = "contradiction", Problem.status
