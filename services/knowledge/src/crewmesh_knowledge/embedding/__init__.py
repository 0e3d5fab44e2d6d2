"""Text to vectors, with a small model that is part of the installation: no key, no download."""

from crewmesh_knowledge.embedding.embedder import Embedder, open_embedder
from crewmesh_knowledge.embedding.model import DIMENSIONS, Vectors

__all__ = ["DIMENSIONS", "Embedder", "Vectors", "open_embedder"]
