"""``python -m crewmesh_kit.db``: what a deployment runs before the first new replica."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from crewmesh_kit.db.__main__ import main


@pytest.fixture
def url(database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    found = database_url("knowledge")
    monkeypatch.setenv("CREWMESH_DATABASE__URL", found)
    return found


def test_it_applies_what_the_service_would_and_may_be_repeated(url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (n int)")
    assert [main(["knowledge", str(tmp_path)]) for _ in range(2)] == [0, 0]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM one").fetchone() == (0,)


@pytest.mark.usefixtures("url")
def test_it_fails_where_the_service_would_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", str(tmp_path / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().out


@pytest.mark.usefixtures("url")
def test_it_says_what_it_was_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge"]) == 1
    assert "Name the app and the folder" in capsys.readouterr().out


def test_without_a_database_it_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CREWMESH_DATABASE__URL", raising=False)
    assert main(["knowledge", str(tmp_path)]) == 1
    assert "CREWMESH_DATABASE__URL" in capsys.readouterr().out
