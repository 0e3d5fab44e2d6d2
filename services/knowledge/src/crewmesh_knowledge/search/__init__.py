"""Search in a knowledge base, by meaning and by words at once."""
