"""Where traffic may go: endpoints, and who is next."""
