"""QUIC connections, by the library aioquic and our own sockets: both ends have shown who they are."""
