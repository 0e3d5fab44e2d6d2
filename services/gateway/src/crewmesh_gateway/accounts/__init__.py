"""People's accounts: how they come about, how somebody proves to be who has one, and what they may change of it."""
