"""What an organization says of all agents and crews that have a tag, whatever their own definitions say."""
