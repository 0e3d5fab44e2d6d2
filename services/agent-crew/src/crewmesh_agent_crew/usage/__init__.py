"""What models were asked and what it cost: sums over time and by name, and the single calls."""
