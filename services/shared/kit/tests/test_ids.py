import re
import time
from itertools import count

import pytest
from crewmesh_kit.ids import new_id


def test_an_id_is_a_prefix_and_a_version_7_uuid() -> None:
    assert re.fullmatch(r"run_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", new_id("run"))


def test_ids_sort_by_the_time_they_were_made() -> None:
    earlier = new_id("run")
    deadline = time.time_ns() // 1_000_000 + 1
    while time.time_ns() // 1_000_000 <= deadline:
        pass
    assert earlier < new_id("run")


def test_ids_of_one_millisecond_sort_too(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = count(1_800_000_000_000_000_000, 1_000)
    monkeypatch.setattr("crewmesh_kit.ids.time.time_ns", lambda: next(moments))
    made = [new_id("run") for _ in range(1_000)]
    assert made == sorted(made)


def test_ids_do_not_repeat() -> None:
    assert len({new_id("evt") for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("prefix", ["", "Run", "run_", "a-b", "much_too_long"])
def test_a_prefix_is_a_few_lower_case_letters(prefix: str) -> None:
    with pytest.raises(ValueError, match="no id prefix"):
        new_id(prefix)
