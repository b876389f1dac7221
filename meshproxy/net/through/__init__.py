"""Connections through proxies that make them for us, each in the language that the proxy speaks."""
