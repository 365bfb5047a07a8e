"""A CSV file's bytes on their way to pyarrow's parser, which passes over what this looks at."""

import codecs
import csv
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pyarrow as pa
import pyarrow.compute as pc

Open = Callable[[], AbstractContextManager[pa.NativeFile]]
_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = b"\r\n"
_AFTER_QUOTES = re.compile(r"expected after")


class StrayQuote(Exception):
    """A quote ends before its field does, or never: readers differ in what such a file says."""


class Feed(io.RawIOBase):
    """A file's text in UTF-8, without a byte order mark and blank lines at its start; and one row more.

    The last row, `end`, is empty in all of its fields. Where the parser does not yield it, a quote that was
    never closed has swallowed it.
    """

    def __init__(self, open_file: Open, encoding: str, delimiter: str, end: bytes) -> None:
        self._opened = ExitStack()
        self._file = self._opened.enter_context(open_file())
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._end = end
        self._rest = b""
        self._last = b"\n"
        self._at_start, self._is_over = True, False
        self.nuls = 0
        self.quotes = QuoteCheck(delimiter)

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file, too."""
        self._opened.close()
        super().close()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes: fewer than `size` at the end only, where pyarrow takes a row for whole."""
        while len(self._rest) < size and not self._is_over:
            self._rest += self._next(size)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _next(self, size: int) -> bytes:
        chunk: bytes = self._file.read(size)
        self._is_over = not chunk
        if self._decoder is not None:
            chunk = self._decoder.decode(chunk, self._is_over).encode()
        if self._at_start:
            chunk = chunk.removeprefix(_MARK).lstrip(_LINE_ENDS)
            self._at_start = not chunk
        if chunk:
            self.nuls += chunk.count(b"\0")
            self.quotes.see(chunk)
            self._last = chunk[-1:]
        if self._is_over and not self._at_start:
            chunk += (b"" if self._last == b"\n" else b"\n") + self._end
        return chunk


class QuoteCheck:
    """Tells whether quotes stand around whole fields only, and twice inside: then all readers agree."""

    def __init__(self, delimiter: str) -> None:
        self.is_regular = True
        self._edges = pa.array([delimiter.encode(), b"\r", b"\n"], pa.binary())
        self._inside = False
        self._last = b"\n"
        self._held = b""

    def see(self, chunk: bytes) -> None:
        """Look at the next bytes of the file."""
        if not self.is_regular:
            return
        chunk = self._held + chunk
        looked_at = chunk.rstrip(b'"')  # what a quote at the end is, only the next byte can tell
        self._held = chunk[len(looked_at) :]
        if looked_at and (self._inside or b'"' in looked_at):
            self._look_at(looked_at if self._inside else self._last + looked_at)
        self._last = looked_at[-1:] or self._last

    def _look_at(self, text: bytes) -> None:
        parts = pc.split_pattern(pa.array([text], pa.binary()), '"')
        count = len(parts.values)
        between = pc.list_slice(
            parts, 1 if self._inside else 0, step=2
        ).flatten()  # two quoted texts, or an edge
        ends_outside = (count % 2 == 1) != self._inside
        after_a_quote = between if self._inside else between.slice(1)
        before_a_quote = between.slice(0, len(between) - ends_outside)
        first, last = pc.binary_slice(after_a_quote, 0, 1), pc.binary_slice(before_a_quote, -1)
        self.is_regular = self._are_edges(first) and self._are_edges(last)
        self._inside = not ends_outside

    def _are_edges(self, ends: pa.Array) -> bool:
        at_an_edge = pc.or_(pc.is_in(ends, self._edges), pc.equal(pc.binary_length(ends), 0))
        return pc.all(at_an_edge).as_py() is not False


def check_quotes(open_file: Open, encoding: str, delimiter: str) -> None:
    """Read the file by the strict rules of RFC 4180 for quotes. Raises StrayQuote."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        with open_file() as file:
            text = io.TextIOWrapper(file, encoding=encoding, newline="")
            for _ in csv.reader(text, delimiter=delimiter, strict=True):
                pass
    except csv.Error as error:
        if _AFTER_QUOTES.search(str(error)) or "unexpected end" in str(error):
            raise StrayQuote from None
        raise
    finally:
        csv.field_size_limit(limit)
