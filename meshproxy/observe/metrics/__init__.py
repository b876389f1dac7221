"""What is counted: plain integers in objects.

The data path does `stats.connections_total += 1` and nothing more.  `snapshot()` gives plain data, of which
`observe.exposition` makes the text that Prometheus reads.  The words that labels may take are written down beside what
counts them: counting any other is a KeyError, so a typo cannot become a series.
"""
