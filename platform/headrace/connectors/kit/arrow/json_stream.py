"""A long JSON text piece by piece: one array of records, or records one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from headrace.connectors.kit.arrow.json_text import (
    InvalidJSON,
    JsonRecords,
    decoded,
    decoded_around,
    decoded_lines,
)

_CHUNK = 4 * 1024 * 1024
_LARGEST_RECORD = 64 * 1024 * 1024
_GUESSES = 8
_SPACE = b" \t\r\n"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},"]', re.DOTALL)
_VALUES = msgspec.json.Decoder(msgspec.Raw)
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Records = JsonRecords | list[Any]


def json_records(read: Callable[[int], bytes], chunk: int = _CHUNK) -> Iterator[Records]:
    """Yield the items of a JSON array, or one JSON value, or objects one after the other, in order.

    `read` returns some bytes of a text in UTF-8 without a byte order mark, and none at its end. Two chunks
    are held, and the record that they cut, which may have 64 MB. Raises InvalidJSON.
    """
    text = read(chunk).lstrip(_SPACE)
    while not text and (more := read(chunk)):
        text = more.lstrip(_SPACE)
    pieces: _Values = _Items(text[1:]) if text.startswith(b"[") else _Values(text)
    while more := read(max(chunk, len(pieces.rest))):
        pieces.rest += more
        yield from pieces.whole()
        if len(pieces.rest) > _LARGEST_RECORD:
            raise InvalidJSON(f"record {pieces.count + 1:,} is larger than {_LARGEST_RECORD:,} bytes")
    yield from pieces.last()


class _Values:
    """JSON values one after the other."""

    def __init__(self, rest: bytes) -> None:
        self.rest = rest
        self.count = 0
        self._plain = False  # whether a value was not an object

    def whole(self) -> Iterator[Records]:
        """Yield the values that are there whole, and keep the rest."""
        yield from self._taken(self.rest)

    def last(self) -> Iterator[Records]:
        """Yield the values of the rest, which is all that is left."""
        if self.rest.strip(_SPACE):
            yield self._made(self.rest, self._records(self.rest))

    def _taken(self, text: bytes) -> Iterator[Records]:
        end, records = _guess(text, self._records)
        if records is None:
            end = max(_ends(text), default=0)
        if end:
            self.rest = text[end:]
            yield self._made(text[:end], records)

    def _made(self, text: bytes, records: JsonRecords | None) -> Records:
        """Return the records of a text, read the longer way where they are not known yet."""
        try:
            made = self._decoded(text) if records is None else records
        except InvalidJSON as invalid:
            raise self._refusal(str(invalid)) from None
        self.count += len(made)
        self._check(made)
        return made

    def _refusal(self, reason: str) -> InvalidJSON:
        return InvalidJSON(f"after record {self.count:,}: {reason}" if self.count else reason)

    def _check(self, made: Records) -> None:
        """Raise InvalidJSON where several values are not objects: they are no records."""
        self._plain = self._plain or not all(
            bytes(item)[:1] == b"{" if isinstance(item, msgspec.Raw) else isinstance(item, dict)
            for item in (made.items if isinstance(made, JsonRecords) else made)
        )
        if self._plain and self.count > 1:
            raise InvalidJSON("something follows the end of its value")

    def _records(self, text: bytes) -> JsonRecords | None:
        try:
            items = _VALUES.decode_lines(text)
        except _REFUSALS:
            return None
        return self._placed(JsonRecords([b"[" + b",".join(map(bytes, items)) + b"]"], items))

    def _placed(self, records: JsonRecords) -> JsonRecords:
        before = self.count
        return JsonRecords(records.lists, records.items, lambda index: f"Record {before + index + 1:,}")

    def _decoded(self, text: bytes) -> list[Any]:
        ends = [0, *_ends(text)]
        if text[ends[-1] :].strip(_SPACE):
            return decoded_lines(text)
        return [decoded(text[start:end]) for start, end in pairwise(ends)]


class _Items(_Values):
    """The items of one array, whose opening bracket is taken already."""

    def whole(self) -> Iterator[Records]:
        """Yield the items that are there whole, and keep the rest, with the comma before it."""
        text = self.rest.lstrip(_SPACE)
        if self.count == 0:
            yield from self._taken(text)
        elif text.startswith(b","):
            yield from self._taken(text[1:])
        elif text.startswith(b"]") and not text[1:].strip(_SPACE):
            self.rest = b"]"
        elif text:
            raise self._refusal("a comma or the array's end is missing")

    def last(self) -> Iterator[Records]:
        """Yield the items of the rest, which ends the array."""
        text = self.rest.lstrip(_SPACE)
        follows = self.count > 0 and text.startswith(b",")
        if self.count > 0 and not follows and not text.startswith(b"]"):
            raise self._refusal("the array does not end")
        try:
            found = decoded_around(b"[" + text[follows:], None)
        except InvalidJSON as invalid:
            raise self._refusal(str(invalid)) from None
        if follows and not found:
            raise self._refusal("a comma has no item after it")
        if found:
            yield self._placed(found) if isinstance(found, JsonRecords) else found

    def _records(self, text: bytes) -> JsonRecords | None:
        try:
            return self._placed(JsonRecords.of(b"[" + text + b"]"))
        except _REFUSALS:
            return None

    def _check(self, made: Records) -> None:
        """Take items of any kind."""

    def _decoded(self, text: bytes) -> list[Any]:
        value: list[Any] = decoded(b"[" + text + b"]")
        return value


def _guess(text: bytes, parse: Callable[[bytes], JsonRecords | None]) -> tuple[int, JsonRecords | None]:
    """Return the end of the last whole record, whose brace is among the last ones, and the records."""
    end = len(text)
    for _ in range(_GUESSES):
        end = text.rfind(b"}", 0, end)
        if end < 0:
            break
        records = parse(text[: end + 1])
        if records is not None:
            return end + 1, records
    return 0, None


def _ends(text: bytes) -> list[int]:
    """Return where values of the outermost level end for sure: at a closing bracket, or before a comma."""
    ends, depth = [], 0
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
            if depth == 0:
                ends.append(match.end())
        elif token == b"," and depth == 0 and match.start():
            ends.append(match.start())
        if depth < 0 or token == b'"':
            break
    return ends
