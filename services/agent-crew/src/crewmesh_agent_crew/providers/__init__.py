"""The protocols that model servers speak, and the organization's accounts at them."""
