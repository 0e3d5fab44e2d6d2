"""Which models there are, what each can, and what it costs."""
