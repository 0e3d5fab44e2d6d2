"""From a definition to what the engine runs: everything is checked, ordered and compiled once, when it is saved."""
