"""Code that agents wrote, run in the sandbox that code steps have."""
