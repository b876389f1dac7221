"""A server for checks, in the hands of a test."""

from __future__ import annotations

import asyncio
import socket

from tests.conftest import _opened

GOOD, BAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"


class Checked:
    """A server that answers as it is told to, or not at all."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer: bytes | None = GOOD
        self.asked = 0
        self.open: set[socket.socket] = set()
        self._loop = asyncio.get_running_loop()
        self.sock = socket.create_server((host, port))
        self.sock.setblocking(False)
        _opened.append(self.close)
        self._loop.add_reader(self.sock, self._accept)
        self.port = self.sock.getsockname()[1]
        self.address = f"{host}:{self.port}"

    def _accept(self) -> None:
        sock, _ = self.sock.accept()
        sock.setblocking(False)
        self.open.add(sock)
        self._loop.add_reader(sock, self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        """A request comes in one piece."""
        try:
            asked = sock.recv(65536)
            if asked:
                self.asked += 1
                if self.answer is not None:
                    sock.sendall(self.answer)
                return
        except ConnectionError:
            pass
        self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        self.open.discard(sock)
        self._loop.remove_reader(sock)
        sock.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self.sock)
            self.sock.close()
        for sock in tuple(self.open):
            self._close(sock)
