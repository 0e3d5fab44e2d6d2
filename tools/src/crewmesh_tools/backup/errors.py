"""What a person can put right: the text names the trouble and what to do about it."""

from __future__ import annotations


class BackupError(Exception):
    """Shown as one message, without a traceback."""
