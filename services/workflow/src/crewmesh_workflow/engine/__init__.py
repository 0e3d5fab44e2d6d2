"""The engine: it moves runs from where their journal stands to their end."""
