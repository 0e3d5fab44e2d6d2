"""Chunks are small enough, in order, faithful to the text, and cost linear time whatever the text is."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from crewmesh_knowledge.documents.chunking import chunks_of
from hypothesis import given
from hypothesis import strategies as st

PARAGRAPH = "A run survives the death of any process. Every step is journalled before the next one begins. "


def test_a_short_text_is_one_chunk() -> None:
    (chunk,) = chunks_of("  Hello there.\n", size=100, overlap=10)
    assert (chunk.position, chunk.start, chunk.text) == (0, 2, "Hello there.")


def test_blank_text_has_no_chunk() -> None:
    assert chunks_of(" \n\n \t", size=100, overlap=10) == []


def test_paragraphs_are_kept_whole_when_they_fit() -> None:
    paragraphs = [f"Paragraph {number}. {'word ' * 10}".strip() for number in range(8)]
    chunks = chunks_of("\n\n".join(paragraphs), size=150, overlap=0)
    assert [part for chunk in chunks for part in chunk.text.split("\n\n")] == paragraphs


def test_long_paragraphs_are_cut_between_sentences() -> None:
    chunks = chunks_of(PARAGRAPH * 10, size=120, overlap=0)
    assert len(chunks) > 5
    assert all(chunk.text.endswith(".") for chunk in chunks)


def test_a_heading_begins_a_chunk_when_the_one_before_is_half_full() -> None:
    text = f"# First\n\n{PARAGRAPH * 2}\n\n## Second\n\n{PARAGRAPH}"
    first, second = chunks_of(text, size=250, overlap=0)
    assert first.text.startswith("# First")
    assert second.text.startswith("## Second")


def test_neighbours_overlap_by_whole_words() -> None:
    words = " ".join(f"word{number}" for number in range(200))
    chunks = chunks_of(words, size=100, overlap=30)
    for one, following in pairwise(chunks):
        shared = one.start + len(one.text) - following.start
        assert 0 < shared <= 30
        assert following.text.startswith("word")


@given(
    text=st.text(alphabet=st.sampled_from(list("ab.\n #。学")), max_size=600),
    size=st.integers(min_value=1, max_value=120),
    overlap=st.integers(min_value=0, max_value=60),
)
def test_nothing_is_lost_and_every_chunk_fits(text: str, size: int, overlap: int) -> None:
    chunks = chunks_of(text, size=size, overlap=min(overlap, size // 2))
    covered: set[int] = set()
    for position, chunk in enumerate(chunks):
        end = chunk.start + len(chunk.text)
        assert chunk.position == position
        assert 0 < len(chunk.text) <= size
        assert text[chunk.start : end] == chunk.text
        covered.update(range(chunk.start, end))
    assert all(text[index].isspace() for index in set(range(len(text))) - covered)
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "学" * 333_000, " " * 999_999 + "x", "\n " * 500_000 + "x", "\n# " * 333_000, "." * 1_000_000],
    ids=["one word", "chinese", "spaces", "blank lines", "headings", "dots"],
)
def test_the_time_for_a_megabyte_grows_with_the_text_and_no_faster(text: str) -> None:
    def takes(text: str) -> float:
        began = time.thread_time()
        chunks = chunks_of(text, size=800, overlap=100)
        taken = time.thread_time() - began
        assert max(len(chunk.text) for chunk in chunks) <= 800
        return taken

    short = max(min(takes(text[-10_000:]) for _ in range(3)), 0.001)
    assert takes(text) < 100 * short * 20
