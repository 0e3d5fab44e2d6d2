"""The audit log: what was changed and what was refused, chained so that nothing can be taken out unnoticed."""
