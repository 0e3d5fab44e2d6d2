"""Runs as people look at them: lists, steps, and a stream of what happens."""
