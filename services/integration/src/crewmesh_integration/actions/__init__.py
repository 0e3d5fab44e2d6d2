"""Doing something in another product through a connection."""
