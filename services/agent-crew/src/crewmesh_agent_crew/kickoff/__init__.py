"""Letting a crew work: once per key, off the event loop, bounded in number and time, and written down."""
