"""The HTTP edge: problems, limits, pages, ETags, event streams."""
