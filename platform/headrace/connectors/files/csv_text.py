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


class QuoteCheck:
    """Tells whether quotes stand around whole fields only, and twice inside: then all readers agree."""

    def __init__(self, delimiter: str) -> None:
        self.is_regular = True
        edge = f"{re.escape(delimiter)}\\r\\n"
        field = f'(?:[^"{edge}]+|"(?:[^"]|"")*")'
        # Whole fields, then perhaps one that the text cuts off.
        self._regular = f'^(?:{field}?[{edge}])*(?:{field}|"(?:[^"]|"")*)?$'
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
        quotes = looked_at.count(b'"')
        if quotes:
            text = pa.array([(b'"' if self._inside else self._last) + looked_at], pa.binary())
            self.is_regular = pc.match_substring_regex(text, self._regular)[0].as_py()
            self._inside ^= quotes % 2 == 1
        self._last = looked_at[-1:] or self._last


class Feed(io.RawIOBase):
    """A file's text in UTF-8, without a byte order mark and blank lines at its start; and one row more.

    The last row, `end`, is empty in all of its fields. Where the parser does not yield it, a quote that was
    never closed has swallowed it. With `quotes` the text is looked at on the way.
    """

    def __init__(self, open_file: Open, encoding: str, end: bytes, quotes: QuoteCheck | None = None) -> None:
        self._opened = ExitStack()
        self._file = self._opened.enter_context(open_file())
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._end = end
        self._rest = b""
        self._last = b"\n"
        self._at_start, self._is_over = True, False
        self.nuls = 0
        self._quotes = quotes

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
            if self._quotes is not None:
                self.nuls += chunk.count(b"\0")
                self._quotes.see(chunk)
            self._last = chunk[-1:]
        if self._is_over and not self._at_start:
            chunk += (b"" if self._last == b"\n" else b"\n") + self._end
        return chunk


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
