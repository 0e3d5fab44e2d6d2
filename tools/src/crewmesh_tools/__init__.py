"""Developer tools: the runner that brings the whole mesh up on one machine."""
