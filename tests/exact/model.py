"""What the harness holds to be true: tables as plain Python values, which know nothing of the engine."""

import datetime as dt
import json
import math
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

Row = dict[str, Any]
UTC = dt.UTC
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone
_WORDS = (
    "", " ", "a", "0", "00501", "null", "NULL", "true", "1e5", "-0", "é", "日本", "🙂", 'say "hi"', "it's",
    "back\\slash", "comma, semicolon; tab\t", "line\nline", "carriage\r\nreturn",
    "x" * 300, "2024-01-01", "NaN",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of values that databases agree on: how one is made, and how any rendering of it is read back."""

    name: str
    make: Callable[[Random], Any]
    canonical: Callable[[Any], Any]
    """From a value as any destination gives it to the one form in which values are compared."""
    types: tuple[type, ...] = ()
    """As which Python knows the values, where source and destination have types; empty: as anything."""


def _integer(value: Any) -> int:
    number = Decimal(str(value))
    if number != number.to_integral_value():
        raise ValueError(f"{value!r} is no integer")
    return int(number)


def _boolean(value: Any) -> bool:
    known = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
    return known[value]


def _double(value: Any) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError("NaN was never written")
    return number + 0.0


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value)).normalize() + 0


def _date(value: Any) -> dt.date:
    if isinstance(value, dt.datetime):
        if value.time() != dt.time():
            raise ValueError(f"{value!r} has a time")
        return value.date()
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value)[:10])


def _timestamp(value: Any) -> dt.datetime:
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _moment(value: Any) -> dt.datetime:
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: Any) -> str:
    """A key without a value counts as one that is not there: objects of one column share their keys."""
    return json.dumps(_without_nulls(json.loads(value) if isinstance(value, str) else value), sort_keys=True)


def _bytes(value: Any) -> bytes:
    """In a shared table the column of bytes may be one of text, if it had no values at first: base64 then."""
    return b64decode(value, validate=True) if isinstance(value, str) else bytes(value)


def _nothing(value: Any) -> Any:
    raise ValueError(f"{value!r} was never written")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _some_json(rng: Random) -> str:
    made: Any = {"n": rng.randint(-5, 5), "t": rng.choice(_WORDS), "l": [1, None, "x"][: rng.randint(0, 3)]}
    return json.dumps(made if rng.random() < 0.8 else [made, {}])


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="integer",
            make=lambda rng: rng.choice(
                (0, 1, -1, 2**31, -(2**63), 2**63 - 1, 2**53 + 1, rng.randint(-9, 9))
            ),
            canonical=_integer,
            types=(int,),
        ),
        Kind(
            name="boolean",
            make=lambda rng: rng.random() < 0.5,
            canonical=_boolean,
            types=(bool, int),  # MySQL has no booleans
        ),
        Kind(
            name="double",
            make=lambda rng: rng.choice((0.0, 0.5, -1.25, 1e300, -1e-300, 0.1, 1 / 3, 12345.0)),
            canonical=_double,
            types=(float,),
        ),
        Kind(
            name="decimal",
            make=lambda rng: Decimal(rng.randint(-(10**17), 10**17)).scaleb(-rng.randint(0, 6)),
            canonical=_decimal,
            types=(Decimal,),
        ),
        Kind(name="text", make=lambda rng: rng.choice(_WORDS), canonical=str, types=(str,)),
        Kind(
            name="date",
            make=lambda rng: (
                rng.choice((dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29)))
                if rng.random() < 0.2
                else dt.date(1900, 1, 1) + dt.timedelta(days=rng.randint(0, 60_000))
            ),
            canonical=_date,
            types=(dt.date,),
        ),
        Kind(
            name="timestamp",
            make=lambda rng: _EPOCH + dt.timedelta(microseconds=rng.randint(-(10**15), 4 * 10**15)),
            canonical=_timestamp,
            types=(dt.datetime,),
        ),
        Kind(
            name="moment",
            make=lambda rng: (_EPOCH + dt.timedelta(microseconds=rng.randint(0, 2 * 10**15))).replace(
                tzinfo=UTC
            ),
            canonical=_moment,
            types=(dt.datetime,),
        ),
        Kind(name="json", make=_some_json, canonical=_json),
        Kind(
            name="bytes", make=lambda rng: rng.randbytes(rng.randint(0, 9)), canonical=_bytes, types=(bytes,)
        ),
        Kind(name="nothing", make=lambda rng: None, canonical=_nothing),
        Kind(name="small", make=lambda rng: rng.randint(-99, 99), canonical=_integer),
    )
}
WIDER = {"small": ("double", "text"), "date": ("timestamp",), "nothing": ("small", "text", "boolean", "date")}
"""What a column of a kind may become, so that its earlier values have one meaning in the new kind."""
UNUSUAL = frozenset({"nothing", "small"})  # kinds of columns that will drift


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table at the source."""

    name: str
    kind: str


@dataclass(kw_only=True)
class Table:
    """The source's table: its columns by a key that outlives a rename, its rows by a number.

    Rows hold values by the columns' keys.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)

    def named(self, row: Mapping[str, Any]) -> Row:
        """Return a row's values by the columns' names."""
        return {column.name: row.get(key) for key, column in self.columns.items()}

    def kinds(self) -> dict[str, str]:
        """Return the columns' kinds by their names."""
        return {column.name: column.kind for column in self.columns.values()}


Rows = Counter[tuple[Any, ...]]


def canonical(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> Rows:
    """Return rows as a multiset of tuples in the order of `kinds`; what a row lacks is null."""
    return Counter(
        tuple(
            None if row.get(name) is None else KINDS[kind].canonical(row[name])
            for name, kind in kinds.items()
        )
        for row in rows
    )


def mistyped(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> str:
    """Name a column with a value of a type that its kind does not have; empty: there is none."""
    for row in rows:
        for name, kind in kinds.items():
            types, value = KINDS[kind].types, row.get(name)
            if types and value is not None and type(value) not in types:
                return f"the {kind} column {name} holds {value!r}, a {type(value).__name__}"
    return ""


def coerced(value: Any, kind: str) -> Any:
    """Return a value of a narrower kind as one of a wider kind."""
    if value is None:
        return None
    if kind == "text":
        return str(value)
    if kind == "double":
        return float(value)
    if kind == "timestamp" and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a time without a zone
    return value


def difference(expected: Counter[Any], found: Counter[Any]) -> str:
    """Say how two multisets differ; empty where they are equal."""
    missing, extra = expected - found, found - expected
    parts = [
        f"{sum(rows.values())} {word}, such as {list(rows)[:2]}"
        for word, rows in (("missing", missing), ("doubled or never there", extra))
        if rows
    ]
    return "; ".join(parts)
