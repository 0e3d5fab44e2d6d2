"""What a model is shown for each kind of task. Few words, the text last: small models read little."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import ModelRequest, unfit_labels
from crewmesh_kit.errors import ValidationFailed

from crewmesh_agent_crew.models.answers import Following, OneOf, Wanted
from crewmesh_agent_crew.models.calls import Message
from crewmesh_agent_crew.models.json_schemas import JsonSchemas


async def wanted_of(request: ModelRequest, schemas: JsonSchemas) -> OneOf | Following | None:
    """What the answer has to be; nothing in particular for a chat and a summary."""
    match request.task:
        case "classify":
            return OneOf(_checked_labels(request.labels))
        case "extract":
            if request.output_schema is None:
                raise _refused("output_schema", "to extract, the JSON Schema of what is to be found is needed")
            await schemas.check(request.output_schema)
            return Following(request.output_schema, schemas)
        case _:
            return None


def messages_of(request: ModelRequest, wanted: Wanted[object] | None) -> Sequence[Message]:
    system = [] if request.system is None else [Message(role="system", content=request.system)]
    before = [Message(role=message.role, content=message.content) for message in request.messages]
    return [*system, *before, Message(role="user", content=_prompt(request, wanted))]


def _prompt(request: ModelRequest, wanted: Wanted[object] | None) -> str:
    instruction = "" if wanted is None else wanted.instruction
    match request.task:
        case "summarize":
            return f"Summarize this text in a few short sentences.\n\n{request.prompt}"
        case "classify":
            return f"Which label fits this text best?\n{instruction}\n\nThe text:\n{request.prompt}"
        case "extract":
            return f"Find the data in this text.\n{instruction}\n\nThe text:\n{request.prompt}"
        case "chat":
            return request.prompt


def _checked_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    if (wrong := unfit_labels(labels)) is not None:
        raise _refused("labels", wrong)
    return tuple(dict.fromkeys(labels))


def _refused(field: str, why: str) -> ValidationFailed:
    place: JsonObject = {"path": f"body.{field}", "message": why}
    return ValidationFailed(f"The model cannot be asked like this: {why}.", errors=[place])
