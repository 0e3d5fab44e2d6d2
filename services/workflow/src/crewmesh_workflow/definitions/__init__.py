"""Workflow definitions: checked when saved, immutable once they are."""
