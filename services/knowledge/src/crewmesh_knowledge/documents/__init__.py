"""Documents: taken in, cut into chunks, and given vectors in the background."""
