"""Crews at work: written down turn by turn, driven on by whichever replica holds the lease."""
