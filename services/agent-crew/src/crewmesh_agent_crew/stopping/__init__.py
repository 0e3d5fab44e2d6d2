"""Ending what nobody wants any more: the question to the model is broken off, and no further one is asked."""
