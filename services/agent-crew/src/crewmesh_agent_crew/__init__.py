"""Crews of agents that think with real models."""
