"""Names, answered: out of a table, out of what was said before, or by asking a server."""
