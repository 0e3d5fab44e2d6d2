"""What an organization owns in this service: exported, kept for as long as it says, forgotten when it is deleted."""
