"""Code that users wrote, run where it can reach nothing."""
