"""The protocol of tunnels, without a socket: frames, streams, sessions."""
