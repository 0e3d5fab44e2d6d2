"""Named definitions with a history: what agents, crews and prompt templates have in common as records."""
