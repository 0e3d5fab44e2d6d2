"""Everything an organization owns, gathered from every service into one file."""
