"""What every protocol shares: live state across generations."""
