"""Sending one HTTP request for a workflow: once per key, signed, guarded, and every attempt on record."""
