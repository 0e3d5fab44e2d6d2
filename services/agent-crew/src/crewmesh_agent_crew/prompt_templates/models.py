"""A prompt template's definition, and how an agent or a task says that it uses one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints, model_validator

from crewmesh_agent_crew.prompt_templates.placeholders import NAME, filled, placeholders
from crewmesh_agent_crew.records.models import Definition, Line, Text

VariableName: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^{NAME}$", max_length=64)]
# Numbers stay numbers, so that 7 is not taken for "7".
Value: TypeAlias = Annotated[
    Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True)]
    | Annotated[Text, Field(max_length=8_000)],
    Field(description="A text, or a number where the variable is one."),
]


class Variable(Contract):
    """A blank in the text. ``choices``: the texts of which a choice is one. With a default it may be left out."""

    name: VariableName
    type: Literal["text", "number", "choice"] = "text"
    description: Annotated[Text, Field(max_length=1_000)] = ""
    required: bool = True
    default: Value | None = None
    choices: Annotated[tuple[Annotated[Line, Field(min_length=1, max_length=200)], ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _fits_its_type(self) -> Variable:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a variable of type choice has choices, and no other has")
        if self.default is not None and (wrong := self.misfit(self.default)):
            raise ValueError(f"the default {wrong}")
        return self

    def misfit(self, value: Value) -> str | None:
        """What is wrong with a value for this variable; nothing when it fits."""
        if self.type == "number":
            return None if not isinstance(value, str) else "must be a number, without quotes"
        if not isinstance(value, str):
            return "must be a text; put it into quotes"
        if self.type == "choice" and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        return None


class PromptTemplateDefinition(Definition):
    """``{name}`` of a declared variable is filled in. Everything else in braces stays, such as inputs of a crew."""

    text: Annotated[Text, Field(min_length=1, max_length=20_000)]
    variables: Annotated[tuple[Variable, ...], Field(max_length=50)] = ()

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "name": "house-style",
                    "description": "How we write.",
                    "text": "Write for {audience}, in at most {words} words. Say what is known and what is guessed.",
                    "variables": [
                        {"name": "audience", "type": "choice", "choices": ["customers", "engineers"]},
                        {"name": "words", "type": "number", "default": 200},
                    ],
                }
            ]
        }
    }

    @model_validator(mode="after")
    def _holds_together(self) -> PromptTemplateDefinition:
        names = [variable.name for variable in self.variables]
        problems = [f"variable {name!r} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        problems += [
            f"variable {name!r} is nowhere in the text" for name in sorted(set(names) - placeholders(self.text))
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def misfits(self, given: Mapping[str, Value]) -> list[tuple[str, str]]:
        """By variable, what is wrong with the values; nothing when the text can be filled in."""
        declared = {variable.name: variable for variable in self.variables}
        known = ", ".join(declared) or "none"
        wrong = [(name, f"is no variable of {self.name}; it has: {known}") for name in given if name not in declared]
        for name, variable in declared.items():
            if name in given:
                wrong += [(name, misfit) for misfit in (variable.misfit(given[name]),) if misfit]
            elif variable.required and variable.default is None:
                wrong.append((name, "is missing"))
        return wrong

    def rendered(self, given: Mapping[str, Value]) -> str:
        """The text, of values that fit."""
        values = {variable.name: given.get(variable.name, variable.default) for variable in self.variables}
        return filled(self.text, {name: _written(value) for name, value in values.items()})


class PromptUse(Contract):
    """In place of a text: this template's, filled in. Without a version, the newest when the work begins."""

    use: Slug
    version: Annotated[int, Field(ge=1)] | None = None
    variables: Annotated[dict[VariableName, Value], Field(max_length=50)] = {}


def _written(value: Value | None) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
