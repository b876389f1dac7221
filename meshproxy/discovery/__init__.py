"""Where endpoints are: from a name or a registry to the addresses of the moment."""
