"""The sidecar as a service uses it: calls to other services, topics, secrets, state, blobs, durable workflows."""
