"""Whether a column's data fits a column that exists already: as it is, after a check, or once it is wider."""

from __future__ import annotations

import re

from headrace.connectors.kit.sql.fit import Fit
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.catalog import Column
from headrace.connectors.postgres.landing import Landing

_INTEGER_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_INTEGER_MAX = {"smallint": 2**15 - 1, "integer": 2**31 - 1}
_EXACT_INTEGERS = {"real": 2**24, "double precision": 2**53}  # up to which a float holds every integer
_FLOATS = ("real", "double precision")
# Text that is parsed as one of these is not what it was.
_LOOSE = re.compile(r"bytea|.*\[\]")
_SIZED_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")


def fit(target: Column, landing: Landing) -> Fit | None:
    """Return how the data gets into the column without losing a value; None when it cannot."""
    value, held, given = landing.expression, target.declared, landing.natural
    if landing.empty or held == given:
        return Fit(expression=f"({value})::{held}")
    if target.type == "text" or held == "character varying":
        return _as_text(value, given)
    if target.type in ("varchar", "bpchar") and given == "text":
        size = held.partition("(")[2].rstrip(")")
        wider = "character varying" if target.type == "varchar" else None
        too_long = f"char_length({value}) > {size}"
        return Fit(expression=f"({value})::{held}", misfit=too_long, wider=wider)
    if target.type in ("json", "jsonb"):
        parsed = given in ("text", "json", "jsonb")
        return Fit(expression=f"({value})::{held}" if parsed else f"to_jsonb({value})::{held}")
    if _is_number(held) and _is_number(given):
        return _number(value, held, given, quoted(target.name))
    if _is_moment(held) and _is_moment(given):
        return _moment(value, held, given)
    if held.endswith("[]") and given.endswith("[]"):
        return _array(value, held, given)
    if given == "text" and (_is_number(held) or _is_moment(held) or held == "boolean"):
        # Its own values are written exactly; parsing the new ones would guess.
        return Fit(expression=f"({value})::{held}", misfit=f"({value}) IS NOT NULL", wider="text")
    if given == "text" and not _LOOSE.fullmatch(held):
        return Fit(expression=f"({value})::{held}")
    return None


def _as_text(value: str, given: str) -> Fit | None:
    if given == "bytea":
        return None
    return Fit(expression=f"to_jsonb({value})::text" if given.endswith("[]") else f"({value})::text")


def _number(value: str, held: str, given: str, column: str) -> Fit | None:
    plain = Fit(expression=f"({value})::{held}")
    if given in _INTEGER_DIGITS:
        return _integer(value, held, given)
    if given in _FLOATS:
        if held in _FLOATS:
            return plain if given == "real" else Fit(expression=value, wider="double precision")
        if held in _INTEGER_DIGITS:  # integers that turn out to be fractions
            spoiled = f"abs({column}::numeric) > {_EXACT_INTEGERS[given]}"
            return Fit(expression=value, wider=given, spoiled=spoiled)
        back = f"({value})::text::{held}"  # by text: the direct cast keeps 15 digits
        return Fit(expression=back, misfit=f"{back}::text::{given} <> ({value})")
    if held in _FLOATS:
        return Fit(expression=plain.expression, misfit=f"({value})::{held}::numeric <> ({value})")
    return _numeric(value, held, given)


def _integer(value: str, held: str, given: str) -> Fit:
    plain = f"({value})::{held}"
    if held in _INTEGER_DIGITS:
        if _INTEGER_DIGITS[held] >= _INTEGER_DIGITS[given]:
            return Fit(expression=plain)
        most = _INTEGER_MAX[held]
        return Fit(expression=plain, misfit=f"({value}) NOT BETWEEN {-most - 1} AND {most}", wider=given)
    if held in _FLOATS:
        return Fit(expression=plain, misfit=f"abs(({value})::numeric) > {_EXACT_INTEGERS[held]}")
    return _numeric(value, held, f"numeric({_INTEGER_DIGITS[given]},0)")


def _numeric(value: str, held: str, given: str) -> Fit:
    """Fit a numeric into a numeric or an integer, or find the numeric that holds both."""
    plain = f"({value})::{held}"
    if held == "numeric":
        return Fit(expression=plain)
    holds, comes = _size(held), _size(given)
    if holds is None or comes is None:
        return Fit(expression=plain, wider="numeric")
    whole, scale = max(holds[0], comes[0]), max(holds[1], comes[1])
    if held not in _INTEGER_DIGITS and (whole, scale) == holds:
        return Fit(expression=plain)
    return Fit(
        expression=f"({value})::numeric({whole + scale},{scale})", wider=f"numeric({whole + scale},{scale})"
    )


def _size(declared: str) -> tuple[int, int] | None:
    """Return the digits before and after the point; None: as many as there are."""
    if declared in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[declared], 0
    sized = _SIZED_NUMERIC.fullmatch(declared)
    return (int(sized[1]) - int(sized[2]), int(sized[2])) if sized else None


def _moment(value: str, held: str, given: str) -> Fit | None:
    plain = f"({value})::{held}"
    if given == "date" and held == "timestamp without time zone":
        return Fit(expression=plain)
    if held == "date" and given == "timestamp without time zone":
        return Fit(expression=value, wider=given)
    if _without_precision(held) == given:  # such as timestamp(3)
        return Fit(expression=plain, misfit=f"{plain} <> ({value})", wider=given)
    return None


def _array(value: str, held: str, given: str) -> Fit | None:
    item, came = held.removesuffix("[]"), given.removesuffix("[]")
    if item in _INTEGER_DIGITS and came in _INTEGER_DIGITS:
        wider = _INTEGER_DIGITS[item] < _INTEGER_DIGITS[came]
        return Fit(expression=value, wider=given) if wider else Fit(expression=f"({value})::{held}")
    if item == "text" or (item == "double precision" and came == "real"):
        return Fit(expression=f"({value})::{held}")
    return None


def _is_number(declared: str) -> bool:
    return declared in _INTEGER_DIGITS or declared in _FLOATS or declared.startswith("numeric")


def _is_moment(declared: str) -> bool:
    return declared == "date" or declared.startswith("time")


def _without_precision(declared: str) -> str:
    return re.sub(r"\(\d+\)", "", declared)
