"""What crews remember for long, found by meaning."""
