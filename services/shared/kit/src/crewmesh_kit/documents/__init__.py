"""Documents that people write and send: YAML and JSON, read strictly, and written so that they are read the same."""
