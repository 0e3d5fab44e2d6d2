"""How much may be asked for, from where, and how much of everything an organization may have."""
