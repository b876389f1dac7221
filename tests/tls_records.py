"""Records of TLS 1.3 as no library would write them: changes of keys without end, empty ones, alerts at any time.

    records = Records(keylog.read_text(), cipher)       # in the place of a client whose context wrote that file
    records.of(APPLICATION, b"hello"), records.change_of_keys()
"""

from __future__ import annotations

import hashlib
import hmac
import struct

ALERT, HANDSHAKE, APPLICATION = 21, 22, 23
FATAL = bytes((2, 80))


class Records:
    def __init__(self, keylog: str, cipher: str) -> None:
        (line,) = (line for line in keylog.splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0"))
        self._hash = "sha384" if cipher.endswith("384") else "sha256"
        self._key_size = 16 if "AES_128" in cipher else 32
        self._chacha = "CHACHA" in cipher
        self._use(bytes.fromhex(line.split()[2]))

    def of(self, kind: int, data: bytes) -> bytes:
        inner = data + bytes((kind,))
        header = b"\x17\x03\x03" + struct.pack("!H", len(inner) + 16)
        nonce = bytes(a ^ b for a, b in zip(self._iv, self._number.to_bytes(12, "big"), strict=True))
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def change_of_keys(self, *, answered: bool = True) -> bytes:
        record = self.of(HANDSHAKE, b"\x18\x00\x00\x01" + bytes((answered,)))
        self._use(self._derived(b"traffic upd", hashlib.new(self._hash).digest_size))
        return record

    def _use(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

        self._secret = secret
        key = self._derived(b"key", self._key_size)
        self._cipher = ChaCha20Poly1305(key) if self._chacha else AESGCM(key)
        self._iv = self._derived(b"iv", 12)
        self._number = 0

    def _derived(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", size, len(label)) + label + b"\0"
        return hmac.new(self._secret, info + b"\1", self._hash).digest()[:size]
