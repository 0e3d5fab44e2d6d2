"""Knowledge bases: documents, chunks, vectors, search."""
