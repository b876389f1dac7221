"""What happens to an accepted connection."""
