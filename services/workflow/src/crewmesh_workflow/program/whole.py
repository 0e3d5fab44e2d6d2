"""What is checked of a definition as a whole: its size, its texts, its triggers, and the JSON Schemas in it."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import EffectNode, NodeBase
from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_contracts.workflow.triggers.event import EventTrigger

from crewmesh_workflow import json_schemas
from crewmesh_workflow.nodes.event_types import check_type
from crewmesh_workflow.program.errors import Mistakes
from crewmesh_workflow.schedules.times import ScheduleError, check_schedule

MAX_NODES = 2_000
MAX_LEVELS = 5

# A large output is replaced by {"$blob": hash} in the journal; nobody else may write something of that shape there.
BLOB_KEY = "$blob"

# Fields that hold a JSON Schema, whatever the kind of node.
_SCHEMA_FIELDS = ("form", "input_schema", "output_schema")
_DAILY = "0 0 * * *"


def check_whole(definition: Definition, document: JsonObject | None, mistakes: Mistakes) -> None:
    """``document``: what the definition was read from, where that is not all of it."""
    for path, message in _texts(document or definition.model_dump(mode="json", by_alias=True)):
        mistakes.add(path, message)
    _check_triggers(definition, mistakes)
    schema = definition.settings.input_schema
    if schema is not None:
        check_schema("settings.input_schema", schema, mistakes)


def inner_graphs(node: NodeBase) -> Iterator[tuple[str, Graph]]:
    """The graphs that a node holds, by the name of the field."""
    for name in type(node).model_fields:
        value: object = getattr(node, name)
        if isinstance(value, Graph):
            yield name, value


def count_nodes(*graphs: Graph | None) -> int:
    """All nodes, those of nested graphs as well."""
    waiting = [graph for graph in graphs if graph is not None]
    count = 0
    while waiting:
        graph = waiting.pop()
        count += len(graph.nodes)
        waiting += [inner for node in graph.nodes for _, inner in inner_graphs(node)]
    return count


def check_schemas(node: NodeBase, place: str, mistakes: Mistakes) -> None:
    """Every JSON Schema of a node, and of what undoes it."""
    for name in _SCHEMA_FIELDS:
        schema: object = getattr(node, name, None)
        if isinstance(schema, dict):
            check_schema(f"{place}{name}", getattr(node, name), mistakes)
    if isinstance(node, EffectNode) and node.compensate is not None:
        check_schemas(node.compensate.do, f"{place}compensate.do.", mistakes)


def check_schema(path: str, schema: JsonObject, mistakes: Mistakes) -> None:
    """A schema must be one, and complete in itself: nothing is fetched for it, neither now nor later."""
    try:
        json_schemas.check_schema(schema)
    except json_schemas.SchemaError as error:
        mistakes.add(path, f"this is no JSON Schema that can be checked with: {error}; correct it")


def _check_triggers(definition: Definition, mistakes: Mistakes) -> None:
    ids: set[str] = set()
    for number, trigger in enumerate(definition.triggers):
        place = f"triggers.{number}"
        if trigger.id in ids:
            mistakes.add(f"{place}.id", f"there is another trigger {trigger.id!r}; give each an id of its own")
        ids.update(() if trigger.id is None else (trigger.id,))
        if isinstance(trigger, CronTrigger):
            _check_schedule(trigger, place, mistakes)
        if isinstance(trigger, EventTrigger):
            mistakes.judge(f"{place}.type", trigger.type, check_type)


def _check_schedule(trigger: CronTrigger, place: str, mistakes: Mistakes) -> None:
    timezone = trigger.timezone
    try:
        ZoneInfo(timezone)
        check_schedule(_DAILY, timezone)
    except (ScheduleError, KeyError, ValueError, OSError):
        mistakes.add(f"{place}.timezone", f"there is no time zone {timezone!r}; name one as in Europe/Berlin, or UTC")
        timezone = "UTC"
    try:
        check_schedule(trigger.expression, timezone)
    except ScheduleError as error:
        mistakes.add(f"{place}.expression", str(error))


def _texts(document: JsonObject) -> Iterator[tuple[str, str]]:
    """What is wrong with single texts and names, wherever they are."""
    waiting: list[tuple[str, JsonValue]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            for name, member in value.items():
                waiting.append((_under(path, name), member))
                if name == BLOB_KEY:
                    yield _under(path, name), "this name is reserved; choose another one"
                yield from _unstorable(path, name)
        elif isinstance(value, list):
            waiting += [(_under(path, item_name(path, item, number)), item) for number, item in enumerate(value)]
        elif isinstance(value, str):
            yield from _unstorable(path, value)


def _unstorable(path: str, text: str) -> Iterator[tuple[str, str]]:
    if "\0" in text:
        yield path, "this holds the character NUL, which cannot be stored; remove it"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        yield path, "this holds half of a character, which cannot be stored; remove it"


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def item_name(path: str, item: JsonValue, number: int) -> str:
    """Nodes are known by their id, everything else by its place."""
    id_ = item.get("id") if isinstance(item, dict) and path.rpartition(".")[2] == "nodes" else None
    return id_[:64] if isinstance(id_, str) and id_ else str(number)
