"""Members: the people of an organization, what they may do in it, and their leaving."""
