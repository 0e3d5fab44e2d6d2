"""What people think of what agents gave, and what agents learn from it."""
