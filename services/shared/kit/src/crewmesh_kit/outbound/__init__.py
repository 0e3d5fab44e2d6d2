"""What every way to the world outside is made of: which addresses are public, and connecting to no other."""
