"""Events that arrive, and the runs they start."""
