"""Prompts with blanks to fill in, kept once and used by name: in an agent's backstory, in a task's description."""
