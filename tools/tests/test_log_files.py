"""Logs are bounded, survive a full disk, and read together in the order of writing."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmesh_tools.mesh.logfiles import Follower, Line, RotatingLog, last_lines, merged
from crewmesh_tools.mesh.readable import readable


def test_a_full_log_makes_room(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "app.log", most_bytes=100, kept=2)
    for number in range(40):
        log.write(b"%04d 0123456789\n" % number)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["app.log", "app.log.1", "app.log.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 400
    assert last_lines(tmp_path / "app.log", 1) == [b"0039 0123456789"]


def test_a_full_disk_is_counted_not_raised() -> None:
    log = RotatingLog(Path("/dev/full"))
    log.write(b"nowhere to go\n")
    assert log.lost_bytes == 14
    log.close()


def test_lines_of_all_logs_in_the_order_of_writing(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(
        b'{"timestamp":"2026-01-01T10:00:01.5Z","event":"one"}\nits second line\n'
        b'{"timestamp":"2026-01-01T10:00:03Z","event":"expires 2027-01-01T00:00:00Z"}\n'
    )
    (tmp_path / "valkey.log").write_bytes(b"2026-01-01 10:00:02,100 two\n")
    assert [(line.name, line.text[:9]) for line in merged(tmp_path, [], 10)] == [
        ("app", b'{"timesta'),
        ("app", b"its secon"),
        ("valkey", b"2026-01-0"),
        ("app", b'{"timesta'),
    ]
    assert merged(tmp_path, ["valkey"], 10) == [Line("valkey", b"2026-01-01 10:00:02,100 two")]
    assert merged(tmp_path, [], 1)[0].name == "app"


def test_following_across_rotation_and_new_logs(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "app.log", most_bytes=20)
    log.write(b"before\n")
    follower = Follower(tmp_path, [])
    log.write(b"half a ")
    assert list(follower.new_lines()) == []
    log.write(b"line is whole now\n")  # and the log is full
    assert list(follower.new_lines()) == []
    log.write(b"after\n")
    (tmp_path / "new.log").write_bytes(b"hello\n")
    assert list(follower.new_lines()) == [Line("app", b"after"), Line("new", b"hello")]
    log.close()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain text", "plain text"),
        (
            b'{"level":"info","msg":"up","time":"2026-01-01T10:00:01.123456Z","ver":"1","n":3}',
            "10:00:01.123 info    up n=3",
        ),
        (b'{"event":"ready","timestamp":"2026-01-01T10:00:01Z"}', "10:00:01Z ready"),
        (b"{not json", "{not json"),
    ],
)
def test_json_lines_are_made_readable(line: bytes, shown: str) -> None:
    assert readable(line) == shown
