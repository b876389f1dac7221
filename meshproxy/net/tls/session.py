"""One end of a TLS connection, without its socket.

    session = Session(context, server=True)
    conn.write(session.advance(data))       # until session.established
    text = session.decipher(data)           # what the peer has said; session.ended: it will say no more
    conn.write(session.encipher(text))
    conn.write(session.goodbye())           # we shall say no more

All sessions of a process use the same two buffers, each within one step, and leave them empty.  So a connection keeps
no buffer while it waits, and what was needed for a megabyte is there once and not for every connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from ssl import SSLError, SSLWantReadError, SSLZeroReturnError

from meshproxy.net.tls.faults import broken

RECORD = 1 << 14
"""Bytes of text in a record at most: who asks for so many gets a record as a whole."""

_incoming = ssl.MemoryBIO()
_outgoing = ssl.MemoryBIO()


class Session:
    __slots__ = ("_keep", "_read", "_write", "early", "ended", "established", "notable", "ssl")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server: bool = False,
        name: str | None = None,
        resumed: ssl.SSLSession | None = None,
        keep: Callable[[ssl.SSLSession], None] | None = None,
    ) -> None:
        """`name` is what a server is asked for, and what its certificate is compared with where the context says so.

        `keep` is given at the end what another session may resume.
        """
        self._keep = keep
        self.ssl = context.wrap_bio(_incoming, _outgoing, server_side=server, server_hostname=name, session=resumed)
        self._read = self.ssl.read
        self._write = self.ssl.write
        self.established = False
        self.early = b""
        """What has come after the handshake, as it came."""
        self.ended = False
        """Whether the peer has said that it will say no more."""
        self.notable = False
        """Whether what was deciphered last is not all: something is owed, or it has ended."""

    def advance(self, data: bytes) -> bytes:
        """A step of the handshake: what is to be sent now, perhaps nothing.  Raises `Broken`."""
        _incoming.write(data)
        try:
            self.ssl.do_handshake()
        except SSLWantReadError:
            pass
        except SSLError as error:
            _incoming.read()
            raise broken(error, _outgoing.read()) from None
        else:
            self.established = True
            self.early = _incoming.read()
        return _outgoing.read()

    def decipher(self, data: bytes) -> bytes:
        """Raises `Broken`."""
        read = self._read
        _incoming.write(data)
        try:
            text = read(RECORD)
            if _incoming.pending:
                text = self._rest(text)
        except SSLWantReadError:
            text = b""
        except SSLZeroReturnError:
            text = self._end()
        except SSLError as error:
            _incoming.read()
            raise broken(error, _outgoing.read()) from None
        else:
            if not text:
                self._end()
        self.notable = self.ended or _outgoing.pending > 0
        return text

    def _rest(self, first: bytes) -> bytes:
        """Of several records, of which the last may not be there as a whole."""
        read = self._read
        pieces = [first]
        try:
            while _incoming.pending and pieces[-1]:
                pieces.append(read(RECORD))
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:
            pieces.append(b"")
        if not pieces[-1]:
            self._end()
        return b"".join(pieces)

    def _end(self) -> bytes:
        """Where we have ended before, OpenSSL calls it an error.  What comes after it is nobody's."""
        self.ended = True
        _incoming.read()
        return b""

    def owed(self) -> bytes:
        """What the protocol itself has to say, after something was deciphered: before anything else happens."""
        return _outgoing.read()

    def encipher(self, text: bytes) -> bytes:
        """Raises `Broken`."""
        try:
            self._write(text)
        except SSLError as error:
            raise broken(error, _outgoing.read()) from None
        return _outgoing.read()

    def encipher_all(self, pieces: Sequence[bytes]) -> bytes:
        """What fills a record has its own; what is between those is put together.  Raises `Broken`."""
        small: list[bytes] = []
        try:
            for piece in pieces:
                if len(piece) < RECORD:
                    small.append(piece)
                    continue
                if small:
                    self._write(b"".join(small))
                    small.clear()
                self._write(piece)
            if small:
                self._write(b"".join(small))
        except SSLError as error:
            raise broken(error, _outgoing.read()) from None
        return _outgoing.read()

    def goodbye(self) -> bytes:
        """That we shall say no more; nothing, if there is nobody to be told."""
        with suppress(SSLError):
            # The peer has not said so yet, and need not.
            self.ssl.unwrap()
        return _outgoing.read()

    def over(self) -> None:
        """By now a server of TLS 1.3 has given its ticket."""
        keep, self._keep = self._keep, None
        found = self.ssl.session if keep is not None else None
        if keep is not None and found is not None:
            keep(found)
