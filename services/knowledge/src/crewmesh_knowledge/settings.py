"""What the knowledge service can be told."""

from __future__ import annotations

from typing import Self

from crewmesh_kit.settings import ServiceSettings, SettingsGroup
from pydantic import Field, model_validator


class EmbeddingSettings(SettingsGroup):
    threads: int = Field(default=2, ge=1, le=32, description="Threads that run the embedding model.")
    batch: int = Field(default=4, ge=1, le=64, description="Texts per call of the model; more need more memory.")


class ChunkingSettings(SettingsGroup):
    """Characters, not tokens: 600 of English are some 130 tokens, and the model reads 256."""

    size: int = Field(default=600, ge=100, le=4_000, description="Most characters in a chunk.")
    overlap: int = Field(default=80, ge=0, le=1_000, description="Most characters a chunk repeats of the one before.")

    @model_validator(mode="after")
    def _overlap_leaves_room(self) -> Self:
        if self.overlap > self.size // 2:
            raise ValueError(f"overlap {self.overlap} must not be more than half of size {self.size}")
        return self


class IndexingSettings(SettingsGroup):
    poll_seconds: float = Field(
        default=2.0, gt=0, le=60, description="How often to look for chunks without a vector when nothing woke us."
    )
    wait_seconds: float = Field(
        default=2.0, ge=0, le=20, description="How long adding a small document waits for it to become searchable."
    )
    wait_chunks: int = Field(
        default=8, ge=0, le=100, description="Documents of at most so many chunks are waited for; larger ones are not."
    )


class KnowledgeSettings(ServiceSettings):
    embedding: EmbeddingSettings = EmbeddingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    indexing: IndexingSettings = IndexingSettings()
