"""While an organization is about to be deleted, nothing of it starts by itself: no schedule, no webhook, no event."""
