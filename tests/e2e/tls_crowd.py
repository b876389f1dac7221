"""Many who say hello at once: a process of its own, which says what became of them.

    python -m tests.e2e.tls_crowd HOST PORT CA NAME NUMBER

Each opens a connection first and makes its hello ready; when all are there, all are sent.  Each asks once and ends.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import ssl
import sys
import time

WITHIN = 30.0


class Client:
    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, name: str) -> None:
        self.sock = socket.create_connection(address, 10)
        self.sock.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._shaken = False
        self.answer = b""
        self._step()

    def _step(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._shaken = True
        self._ssl.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def say(self) -> None:
        if self._outgoing.pending:
            self.sock.send(self._outgoing.read())

    def hear(self) -> bool:
        """Whether that was all."""
        data = self.sock.recv(65536)
        if not data:
            return True
        self._incoming.write(data)
        if not self._shaken:
            self._step()
            self.say()
        if self._shaken:
            try:
                while piece := self._ssl.read(65536):
                    self.answer += piece
            except ssl.SSLWantReadError:
                return False
            return True
        return False


def main() -> None:
    host, port, ca, name, number = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.create_default_context(cafile=ca)
    clients = [Client((host, int(port)), context, name) for _ in range(int(number))]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
    began = time.monotonic()
    for client in clients:
        client.say()
    left, served, lost, times = len(clients), 0, 0, []
    while left and time.monotonic() < began + WITHIN:
        for key, _ in selector.select(1):
            client = key.data
            try:
                if not client.hear():
                    continue
                good = client.answer.startswith(b"HTTP/1.1 200 ")
            except OSError:
                good = False
            selector.unregister(client.sock)
            client.sock.close()
            left -= 1
            served += good
            lost += not good
            times.append(time.monotonic() - began)
    print(json.dumps({"served": served, "lost": lost, "left": left, "seconds": max(times, default=0.0)}))


if __name__ == "__main__":
    main()
