"""What crosses a process: events, invocations, the workflow language. Pydantic only, no I/O."""
