"""The record of everything that left the mesh: one row per attempt, written before the bytes leave."""
