"""From the name of a model to an answer: candidates, patience, and what is left when one fails."""
