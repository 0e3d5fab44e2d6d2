"""What a new organization finds: the workflow "Answer a question"."""
