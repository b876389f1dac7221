"""Where documents come from, and where the last good ones are kept."""
