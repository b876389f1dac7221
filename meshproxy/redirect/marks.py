"""The numbers by which packet filter and routing know each other; they hold for every layout."""

MARK = 0x6D70
"""Of packets that are for this host whatever their destination, and of connections in the name of a client."""
TABLE = MARK
"""Of routes, and where its rule stands among those of the host."""
