"""Bodies of answers, decompressed piece by piece and known to be whole.

urllib3 checks a length that the server names and a chunked body's end. It takes a compressed body that is
cut off for a whole one, so gzip and deflate are read here.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import urllib3

_COMPRESSED = ("gzip", "x-gzip", "deflate")
_GZIP = b"\x1f\x8b"
_ANY_HEADER, _NO_HEADER = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_LARGEST_PIECE = 1024 * 1024


class CutShort(urllib3.exceptions.HTTPError):
    """A compressed body ended before its own end."""


def pieces(answer: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of at most 1 MiB, or of `size`. Raises urllib3's HTTPError, and CutShort."""
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _COMPRESSED:
        while piece := answer.read1(size, decode_content=True):
            yield piece
        return
    inflated = _Inflated()
    while piece := answer.read1(size, decode_content=False):
        yield from inflated.pieces(piece)
    inflated.end()


class _Inflated:
    """Decompresses gzip, of several members too, and deflate in both of its forms."""

    def __init__(self) -> None:
        self._member: Any = zlib.decompressobj(_ANY_HEADER)
        self._has_begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        is_full = False  # whether the member may have more of what it has read already
        while data or is_full:
            if self._member.eof:
                if not data.startswith(_GZIP[: len(data)]):
                    return  # padding after the last member
                self._member = zlib.decompressobj(_ANY_HEADER)
            if piece := self._decompressed(data):
                yield piece
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            is_full = len(piece) == _LARGEST_PIECE and not self._member.eof

    def end(self) -> None:
        """Raise CutShort unless the last member has ended."""
        if self._has_begun and not self._member.eof:
            raise CutShort("the body ended early")

    def _decompressed(self, data: bytes) -> bytes:
        try:
            made: bytes = self._member.decompress(data, _LARGEST_PIECE)
        except zlib.error as error:
            if self._has_begun:
                raise urllib3.exceptions.DecodeError("not what its encoding says") from error
            self._member = zlib.decompressobj(_NO_HEADER)  # servers write deflate without zlib's header, too
            self._has_begun = True
            return self._decompressed(data)
        self._has_begun = True
        return made
