"""What agents are doing right now, at whichever replica."""
