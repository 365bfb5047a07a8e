"""The one reader of JSON text, for REST pages and for files; and records that stay text.

docs/types.md states the rules: RFC 8259, with a byte order mark let pass, lone surrogates replaced, the last
of two equal keys kept, and no number rounded to infinity.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, overload

import msgspec

from headrace.connectors import Unreadable

DEEPEST = 500
"""Levels of lists and objects that are read; Python and Arrow need a stack that grows with them."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_LINES: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_RAW_LINES = msgspec.json.Decoder(msgspec.Raw)
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # begins with UTF-16's, so it comes first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NOT_BEYOND_ASCII = (
    "utf-16",
    "utf-32",
    "utf-7",
    "iso2022",
    "hz",
)  # codecs that write other text in ASCII's bytes
_ALL_BUT_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_STRINGS = re.compile(rb'"[^"]*"')
_INNERMOST = re.compile(rb"\[\]|\{\}")
_SURROGATES = re.compile(
    r"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_LONGEST_INTEGER = 4_000  # digits; Python refuses to convert more than 4,300


class NotJSON(Unreadable):
    """The answer is not JSON."""

    code = "source.not_json"
    title = "Answer is not JSON"
    hint = "Check base_url and path, or the file's format: something else lies where JSON was expected."


class InvalidJSON(ValueError):
    """A text is not JSON, or not JSON that can be read exactly.

    Its own text says why and where, as the end of a sentence without a full stop; it quotes no data.
    """


@dataclass(frozen=True, eq=False)
class JsonRecords(Sequence[dict[str, Any]]):
    """The items of JSON lists, one list after the other; each look at one decodes it anew.

    A plain value is a record of one field, `value`. Looking at an item that is not JSON raises NotJSON, which
    names the item as `place` does.
    """

    lists: Sequence[bytes]
    items: Sequence[msgspec.Raw]
    place: Callable[[int], str] = lambda index: f"Record {index + 1:,} of the answer"

    @classmethod
    def of(cls, text: bytes, place: Callable[[int], str] | None = None) -> JsonRecords:
        """Return the items of one list. Raises ValueError or RecursionError where the text is none."""
        records = cls([text], _LIST.decode(text))
        return records if place is None else cls(records.lists, records.items, place)

    @classmethod
    def of_lines(cls, text: bytes, place: Callable[[int], str] | None = None) -> JsonRecords:
        """Return the records of JSON lines, as `decoded_lines` does. Raises InvalidJSON."""
        lines = _lines(text)
        items = _one_a_line(_RAW_LINES, text, lines)
        if items is None:
            decoded_lines(text)  # raises where a line is not JSON; else a record needs the longer way only
            items = list(map(msgspec.Raw, lines))
        made = b"[" + b",".join(map(bytes, items)) + b"]"
        return cls([made], items) if place is None else cls([made], items, place)

    @classmethod
    def joined(cls, pages: Sequence[JsonRecords]) -> JsonRecords:
        """Return the items of several pages."""
        starts = [0]
        for page in pages:
            starts.append(starts[-1] + len(page))

        def place(index: int) -> str:
            number = bisect_right(starts, index) - 1
            return pages[number].place(index - starts[number])

        lists = [text for page in pages for text in page.lists]
        return cls(lists, [item for page in pages for item in page.items], place)

    @property
    def size(self) -> int:
        """How long the text is, in bytes."""
        return sum(map(len, self.lists))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._record(index) for index in range(len(self.items)))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self._record(number) for number in range(*index.indices(len(self.items)))]
        return self._record(index if index >= 0 else len(self.items) + index)

    def _record(self, index: int) -> dict[str, Any]:
        try:
            found = decoded(bytes(self.items[index]))
        except InvalidJSON as invalid:
            raise NotJSON(f"{self.place(index)} is not JSON that can be read: {invalid}.") from None
        return found if isinstance(found, dict) else {"value": found}


def decoded(text: bytes) -> Any:
    """Return the value of a JSON text in UTF-8. Raises InvalidJSON.

    Integers are exact. A number beyond a double's range is a Decimal; other fractions are doubles.
    """
    _check_depth(text)
    try:
        return msgspec.json.decode(text)
    except _REFUSALS:
        return _decoded_by_python(text)


def decoded_lines(text: bytes, first: int = 1) -> list[Any]:
    """Return the values of JSON lines in UTF-8, one of each line; blank lines have none.

    Raises InvalidJSON, which names the line; the text's first line has the number `first`.
    """
    lines = _lines(text)
    if max(map(len, lines), default=0) <= 2 * DEEPEST:  # too short to be deep
        values = _one_a_line(_LINES, text, lines)
        if values is not None:
            return values
    numbered = enumerate(text.split(b"\n"), first)
    return [_decoded_line(line, number) for number, line in numbered if line.strip()]


def decoded_around(body: bytes, key: str | None) -> Any:
    """Return the value of a JSON text, with the list at a key of it (None: itself) as JsonRecords.

    What has no list there comes as from `decoded`. Raises InvalidJSON.
    """
    try:
        if key is None:
            return JsonRecords.of(body)
        members = _OBJECT.decode(body)
        records = JsonRecords.of(bytes(members.pop(key)))
        return {key: records, **{name: decoded(bytes(text)) for name, text in members.items()}}
    except (*_REFUSALS, KeyError):
        return decoded(body)


def in_utf8(text: bytes, charset: str | None = None) -> bytes:
    """Return a JSON text in UTF-8, without a byte order mark. Raises InvalidJSON, which names the encoding.

    `charset` is what a header says. JSON is UTF-8 (RFC 8259, section 8.1), so a text that is valid UTF-8 is
    taken as that, whatever a header says; where it is not, the header decides.
    """
    for mark, marked in _BYTE_ORDER_MARKS.items():
        if text.startswith(mark):
            return text[len(mark) :] if marked == "utf-8" else _in_utf8(text, marked)
    codec = _codec(charset or "utf-8")
    if codec is None or not codec.startswith(_NOT_BEYOND_ASCII):
        if text.isascii():
            return text
        try:
            text.decode()
            return text
        except UnicodeDecodeError as invalid:
            if codec is None:
                raise InvalidJSON(f"the charset {(charset or '')[:40]!r} is not known") from None
            if codec in ("utf-8", "ascii"):
                raise InvalidJSON(f"the text is not UTF-8 (at byte {invalid.start + 1:,})") from None
    return _in_utf8(text, codec)


def _codec(charset: str) -> str | None:
    """Return the name of the codec for a charset; None where there is none."""
    try:
        return codecs.lookup(charset).name
    except LookupError:
        return None


def _in_utf8(text: bytes, codec: str) -> bytes:
    try:
        return text.decode(codec).encode()
    except (UnicodeError, LookupError):
        raise InvalidJSON(f"the text is neither UTF-8 nor {codec}, its charset") from None


def _one_a_line(decoder: msgspec.json.Decoder[Any], text: bytes, lines: list[bytes]) -> list[Any] | None:
    """Return the value of each line; None where msgspec refuses one, or finds more or fewer."""
    try:
        values = decoder.decode_lines(text)
    except _REFUSALS:
        return None
    return values if len(values) == len(lines) else None


def _lines(text: bytes) -> list[bytes]:
    """Split a text into its lines, without the blank ones."""
    return [line for line in text.split(b"\n") if line and not line.isspace()]


def _check_depth(text: bytes) -> None:
    """Raise InvalidJSON for a text of more levels than are read: decoding it may overflow a stack."""
    if len(text) <= 2 * DEEPEST or text.count(b"[") + text.count(b"{") <= DEEPEST:
        return
    # Strings go first, by their quotes: escaped ones are no quotes. Then each pass takes the innermost level.
    marks = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _ALL_BUT_MARKS)
    marks = _STRINGS.sub(b"", marks.replace(b'""', b""))
    for _ in range(DEEPEST):
        inner = len(marks)
        marks = _INNERMOST.sub(b"", marks)
        if len(marks) == inner:
            break
    if marks.count(b"[") + marks.count(b"{") > DEEPEST or _INNERMOST.search(marks):
        raise InvalidJSON(f"it is nested deeper than {DEEPEST} levels")


def _decoded_line(line: bytes, number: int) -> Any:
    try:
        return decoded(line)
    except InvalidJSON as invalid:
        raise InvalidJSON(f"line {number:,}: {invalid}") from None


def _decoded_by_python(text: bytes) -> Any:
    """Decode what msgspec refuses: byte order marks, lone surrogates, numbers that no double holds."""
    try:
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError as invalid:
        raise InvalidJSON(f"the text is not UTF-8 (at byte {invalid.start + 1:,})") from None
    source = _SURROGATES.sub(lambda match: "\\ufffd" if match[1] else match[0], source)
    try:
        return json.loads(source, parse_int=_integer, parse_float=_fraction, parse_constant=_refuse_constant)
    except json.JSONDecodeError as invalid:
        raise InvalidJSON(_reason(invalid)) from None
    except RecursionError:
        raise InvalidJSON(f"it is nested deeper than {DEEPEST} levels") from None


def _reason(invalid: json.JSONDecodeError) -> str:
    if invalid.pos >= len(invalid.doc.rstrip()):
        return "it is empty" if not invalid.doc.strip() else "it ends in the middle of a value"
    if invalid.msg.startswith("Unterminated"):
        return "it ends in the middle of a text"
    if invalid.msg == "Extra data":
        return f"something follows its end, at line {invalid.lineno:,}, column {invalid.colno:,}"
    return f"its syntax is wrong at line {invalid.lineno:,}, column {invalid.colno:,}"


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _LONGEST_INTEGER else Decimal(digits)


def _fraction(digits: str) -> float | Decimal:
    number = float(digits)
    if math.isfinite(number):
        return number
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise InvalidJSON("a number is larger than can be kept") from None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSON(f"{name} is not a JSON value; write null, or a text")
