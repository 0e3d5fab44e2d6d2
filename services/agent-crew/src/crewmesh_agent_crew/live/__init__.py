"""Watching answers while they are being given. Only for watching: what was said at last is in the database."""
