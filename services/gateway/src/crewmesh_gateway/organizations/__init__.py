"""Organizations: founding, changing, handing over, and ending one with time to change one's mind."""
