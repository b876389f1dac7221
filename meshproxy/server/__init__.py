"""The process: its life, its signals, its parts put together."""
