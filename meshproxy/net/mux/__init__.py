"""Streams of tunnels as connections."""
