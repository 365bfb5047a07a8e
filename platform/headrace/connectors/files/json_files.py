"""JSON and JSON lines to records, by the reader that REST pages have, too."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.connectors.files.opening import opened
from headrace.connectors.kit.arrow.json_stream import json_records
from headrace.connectors.kit.arrow.json_text import InvalidJSON, JsonRecords

Records = Sequence[dict[str, Any]]
_CHUNK = 4 * 1024 * 1024
_LONGEST_LINE = 256 * 1024 * 1024
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16's does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_json(path: Path) -> Iterator[Records]:
    """Read one array of records, or records one after the other. Raises InvalidJSON."""
    with opened(path) as file:
        for records in json_records(_with_a_value(_utf8(file.read))):
            if isinstance(records, JsonRecords):
                yield records
            else:
                yield [item if isinstance(item, dict) else {"value": item} for item in records]


def read_json_lines(path: Path) -> Iterator[Records]:
    """Read one record from each line. Raises InvalidJSON."""
    with opened(path) as file:
        read, rest, before = _utf8(file.read), b"", 0
        while chunk := read(_CHUNK):
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            if end:
                yield from _lines(lines, before)
                before += lines.count(b"\n") + 1
            elif len(rest) > _LONGEST_LINE:
                raise InvalidJSON(f"line {before + 1:,} is longer than {_LONGEST_LINE:,} bytes")
        yield from _lines(rest, before)


def _lines(text: bytes, before: int) -> Iterator[Records]:
    try:
        records = JsonRecords.of_lines(text, lambda index: f"Record {index + 1:,} after line {before:,}")
    except InvalidJSON as invalid:
        raise InvalidJSON(f"after line {before:,}: {invalid}" if before else str(invalid)) from None
    if len(records):
        yield records


def _with_a_value(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a function that reads the same. Raises InvalidJSON for a text of nothing but space."""
    text = b""
    while not text.strip() and (more := read(_CHUNK)):
        text = more  # what came before was space
    if not text.strip():
        raise InvalidJSON("it holds no value")
    begun = [text]
    return lambda size: begun.pop() if begun else read(size)


def _utf8(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a function that reads the text in UTF-8, whatever its byte order mark says it is in."""
    start = read(4)
    mark, codec = next(((m, c) for m, c in _MARKS.items() if start.startswith(m)), (b"", "utf-8"))
    decoder = None if codec == "utf-8" else codecs.getincrementaldecoder(codec)()
    begun = [start.removeprefix(mark) if decoder is None else start]

    def read_on(size: int) -> bytes:
        found = (begun.pop() if begun else b"") or read(size)
        if decoder is None:
            return found
        while True:
            text = decoder.decode(found, final=not found).encode()
            if text or not found:
                return text
            found = read(size)

    return read_on
