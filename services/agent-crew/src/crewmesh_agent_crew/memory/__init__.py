"""What agents remember: of the last hours, of their work for long, and what people taught them."""
