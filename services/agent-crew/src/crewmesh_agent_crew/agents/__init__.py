"""Agents as records: who each is, what it thinks with, what it may do."""
