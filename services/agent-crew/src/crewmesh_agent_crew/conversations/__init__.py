"""Talking with an agent or a crew: messages in a tree of branches, each answer a crew run, its words streamed."""
