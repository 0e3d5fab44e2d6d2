"""The keys that access tokens are signed with: made, published, followed by the next, forgotten."""
