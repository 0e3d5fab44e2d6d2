"""One agent doing one task: CrewAI's agent, our models, our tools, within the agent's limits."""
