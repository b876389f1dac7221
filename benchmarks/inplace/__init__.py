"""Sidecars in their place: two hosts between which the kernel redirects what an application sends and is sent."""
