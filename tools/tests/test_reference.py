from pathlib import Path

from crewmesh_tools import reference
from crewmesh_tools.reference import REFERENCE, SCHEMAS, differences, write

FILES = {REFERENCE / "a.md": "# A\n", SCHEMAS / "events" / "b.json": "{}\n"}


def test_what_was_just_written_does_not_differ(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    assert differences(tmp_path, FILES) == []


def test_each_difference_is_named(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, REFERENCE / "old.md": ""})
    (tmp_path / REFERENCE / "a.md").write_text("# changed\n")
    (tmp_path / SCHEMAS / "events" / "b.json").unlink()
    assert differences(tmp_path, FILES) == [
        "docs/reference/a.md: is not what the code says",
        "services/shared/contracts/schemas/events/b.json: is missing",
        "docs/reference/old.md: nothing generates it",
    ]


def test_writing_removes_what_nothing_generates(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, REFERENCE / "old.md": ""})
    write(tmp_path, FILES)
    assert differences(tmp_path, FILES) == []


def test_events_are_described_by_their_own_schemas() -> None:
    schemas = reference.schemas()
    document = reference.asyncapi()
    assert "crewmesh.run.completed.v1" in str(document["channels"])
    assert schemas["events/crewmesh.run.completed.v1.json"]["title"] == "RunCompleted"
    assert schemas["definition.json"]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
