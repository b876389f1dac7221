"""What an operator sees: counters, their exposition, and the log."""
