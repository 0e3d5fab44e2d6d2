"""What people decide while a run waits: approvals, forms, and what came of a step that nobody knows about."""
