"""JSON as servers write it, and records that stay text: the engine makes Arrow of the text itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec

from headrace.connectors import Unreadable

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class NotJSON(Unreadable):
    """The answer is not JSON."""

    code = "source.not_json"
    title = "Answer is not JSON"
    hint = "Check base_url and path: a web page answers where an API was expected."


@dataclass(frozen=True, eq=False)
class JsonRecords(Sequence[dict[str, Any]]):
    """The items of JSON lists, one list after the other; each look at one decodes it anew.

    A plain value is a record of one field. A look at one whose strings are not UTF-8 raises NotJSON.
    """

    lists: Sequence[bytes]
    items: Sequence[msgspec.Raw]

    @classmethod
    def of(cls, text: bytes) -> JsonRecords:
        """Return the items of one list. Raises ValueError where the text is none."""
        return cls([text], _LIST.decode(text))

    @classmethod
    def joined(cls, pages: Sequence[JsonRecords]) -> JsonRecords:
        """Return the items of several pages."""
        lists = [text for page in pages for text in page.lists]
        return cls(lists, [item for page in pages for item in page.items])

    @property
    def size(self) -> int:
        """How long the text is, in bytes."""
        return sum(map(len, self.lists))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_record, self.items)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return list(map(_record, self.items[index]))
        return _record(self.items[index])


def decoded(body: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError or RecursionError."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        # The standard library also takes what servers write beyond RFC 8259: a byte order mark, NaN, lone
        # surrogates, numbers larger than a double.
        return json.loads(body.decode("utf-8-sig"))


def decoded_around(body: bytes, key: str | None) -> Any:
    """Return the value of a JSON text, with the list at a key of it (None: itself) as JsonRecords.

    What has no list there comes as from `decoded`. Raises ValueError or RecursionError.
    """
    try:
        if key is None:
            return JsonRecords.of(body)
        members = _OBJECT.decode(body)
        records = JsonRecords.of(bytes(members.pop(key)))
        return {key: records, **{name: msgspec.json.decode(text) for name, text in members.items()}}
    except (msgspec.DecodeError, KeyError):
        return decoded(body)


def _record(item: msgspec.Raw) -> dict[str, Any]:
    try:
        found = decoded(bytes(item))
    except (ValueError, RecursionError):
        raise NotJSON("A record of the answer is not JSON.") from None
    return found if isinstance(found, dict) else {"value": found}
