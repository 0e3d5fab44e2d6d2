"""For how long an organization wants its data kept."""
