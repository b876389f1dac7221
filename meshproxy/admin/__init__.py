"""What an operator steers: a small HTTP server, who may use it, and the API behind it."""
