"""Crews as records: who is in them, what they do, in which order."""
