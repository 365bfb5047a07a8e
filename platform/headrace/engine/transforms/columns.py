"""Transforms of whole columns without code: select, hash, cast and rename, in this order."""

import hmac
from collections.abc import Collection, Iterator

import pyarrow as pa

from headrace.engine.arrow.arrowize import texts
from headrace.engine.transforms.code_steps import TransformFailed
from headrace.pipeline.transforms import Columns, Hashing, Transform

_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)


class MissingColumn(TransformFailed):
    """A `columns` step names a column that no record of the run had, nor of a run before it."""

    code = "transform.missing_column"
    title = "Column of a transform is missing"
    hint = "Correct the column's name. Set `missing: ignore` in the step if records need not have the column."


class ColumnsStep:
    """A `columns` step. Columns that a batch lacks are skipped: another batch may have them."""

    def __init__(self, step: Transform) -> None:
        assert step.columns is not None, "only such steps come here"
        self._label = step.label
        self._columns = step.columns
        self._seen = 0
        self._missing = set(_named(step.columns))

    @property
    def named(self) -> frozenset[str]:
        """The columns that the step names and that some batch has had."""
        return frozenset(_named(self._columns)) - self._missing

    def require_columns(self, known: Collection[str]) -> None:
        """Raise MissingColumn if a column that the step names was in no batch, nor is known from before.

        It may be misspelt, and what it should have removed or hashed would pass.
        """
        missing = sorted(self._missing - set(known))
        if missing and self._seen and self._columns.missing == "fail":
            names = ", ".join(repr(name) for name in missing)
            raise MissingColumn(f"The transform {self._label!r} names {names}, which no record had.")

    def apply(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the batch with its columns changed. Raises TransformFailed."""
        self._missing -= set(batch.schema.names)
        arrays: list[pa.Array] = []
        fields: list[pa.Field] = []
        for name in _chosen(self._columns, batch.schema.names):
            array, field = batch.column(name), batch.schema.field(name)
            changed = self._changed(name, array)
            arrays.append(changed)
            kept = (
                field
                if changed.type.equals(field.type) and changed is array
                else pa.field(name, changed.type)
            )
            fields.append(kept.with_name(self._columns.rename.get(name, name)))
        names = [field.name for field in fields]
        for name in names:
            if names.count(name) > 1:
                raise TransformFailed(f"The transform {self._label!r} makes two columns named {name!r}.")
        self._seen += batch.num_rows
        if fields:
            yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _changed(self, name: str, array: pa.Array) -> pa.Array:
        hashing, declared = self._columns.hash, self._columns.cast.get(name)
        if hashing is not None and name in hashing.columns:
            return _hashed(array, hashing)
        if declared is None:
            return array
        kind = _arrow_type(declared)
        try:
            return _cast(array, kind)
        except _REFUSALS:
            record = self._seen + _first_misfit(array, kind) + 1
            raise TransformFailed(
                f"The transform {self._label!r} failed at record {record:,}: "
                f"column {name!r}, {array.type}, is not exactly a {declared} there."
            ) from None


def renamed(names: tuple[str, ...], steps: tuple[Transform, ...]) -> tuple[str, ...]:
    """Return the names of columns after the `columns` steps. Renames by code are not known here."""
    for step in steps:
        if step.columns is not None:
            names = tuple(step.columns.rename.get(name, name) for name in names)
    return names


def _named(columns: Columns) -> list[str]:
    hashed = columns.hash.columns if columns.hash else ()
    return [*(columns.select or ()), *(columns.exclude or ()), *hashed, *columns.cast, *columns.rename]


def _chosen(columns: Columns, names: list[str]) -> list[str]:
    if columns.select is not None:
        return [name for name in columns.select if name in names]
    return [name for name in names if name not in (columns.exclude or ())]


def _hashed(array: pa.Array, hashing: Hashing) -> pa.Array:
    """Return the HMAC-SHA256 (RFC 2104) of each text in hex. Without the salt nobody can check a guess."""
    key = hashing.salt.get_secret_value().encode()
    is_plain = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    plain = array if is_plain else texts(array.to_pylist())
    return pa.array([_hash(key, value) for value in plain.to_pylist()], pa.string())


def _hash(key: bytes, value: str | bytes | None) -> str | None:
    if value is None:
        return None
    return hmac.digest(key, value.encode() if isinstance(value, str) else value, "sha256").hex()


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert a column. Raises one of _REFUSALS if the result would not be exact."""
    if array.type.equals(kind):
        return array
    if pa.types.is_string(kind):
        return texts(array.to_pylist())
    cast = array.cast(kind)
    # Arrow silently rounds a float to the digits of a decimal.
    if pa.types.is_floating(array.type) and not cast.cast(array.type).equals(array):
        raise pa.ArrowInvalid("rounded")
    return cast


def _first_misfit(array: pa.Array, kind: pa.DataType) -> int:
    """Return the index of the first value that cannot be cast, by bisection. There must be one."""
    low, high = 0, len(array)  # all values before `low` can be cast; before `high`, at least one cannot
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(array[low:middle], kind)
            low = middle
        except _REFUSALS:
            high = middle
    return low


def _arrow_type(declared: str) -> pa.DataType:
    if declared.startswith("decimal128"):
        precision, scale = declared.removeprefix("decimal128(").rstrip(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    if declared.startswith("timestamp"):
        return pa.timestamp("us", "UTC" if "UTC" in declared else None)
    return pa.type_for_alias(declared)
