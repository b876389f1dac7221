"""zstd for the streams of tunnels, by Python's own library or the one that brings it to older versions.

    Zstd()                                  # raises Unusable, where there is none
    Zstd(dictionary)                        # with what both ends know before they begin

It is loaded when somebody compresses.  Windows are small, for each stream that is compressed has one at each end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

from meshproxy.net.tls.context import Unusable
from meshproxy.wire.mux.squeeze import Decompressor

MISSING = "needs the library backports.zstd: pip install 'meshproxy[zstd]'"
LEVEL = 1
WINDOW_LOG = 16
"""Bytes to which what is compressed may refer: 64 KiB."""
_TRAINED = b"\x37\xa4\x30\xec"
"""How a dictionary begins that `zstd --train` has made; any other file is one as it is."""


def library() -> Any:
    """Raises Unusable."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise Unusable("compress", MISSING) from None
    return zstd


class Zstd:
    __slots__ = ("_compressor", "_decompressor", "broken", "name")

    def __init__(self, dictionary: bytes | None = None) -> None:
        """Raises Unusable."""
        zstd = library()
        self.broken: type[Exception] = zstd.ZstdError
        self.name = "zstd"
        known = ready = None
        try:
            if dictionary is not None:
                self.name += f":{sha256(dictionary).hexdigest()[:32]}"
                known = zstd.ZstdDict(dictionary, is_raw=not dictionary.startswith(_TRAINED))
                # Once, for all streams.
                ready = known.as_digested_dict
            what = zstd.CompressionParameter
            ours = {what.compression_level: LEVEL, what.window_log: WINDOW_LOG}
            self._compressor = partial(zstd.ZstdCompressor, options=ours, zstd_dict=ready)
            theirs = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
            self._decompressor = partial(zstd.ZstdDecompressor, options=theirs, zstd_dict=known)
            self._compressor()
            self._decompressor()
        except (ValueError, zstd.ZstdError):
            raise Unusable("dictionary", "is none for zstd: too short, or damaged") from None

    def compressor(self) -> Callable[[bytes], bytes]:
        made = self._compressor()
        return partial(made.compress, mode=made.FLUSH_BLOCK)

    def decompressor(self) -> Decompressor:
        made: Decompressor = self._decompressor()
        return made
