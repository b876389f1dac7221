"""Tunnels: many streams over a few connections that may be lost."""
