"""What the SQL destinations check: names, keys, contracts, who is in the way."""

from headrace.connectors import (
    ConnectorError,
    LoadRequest,
    Rejected,
    SchemaConflict,
    SchemaContract,
    SchemaFrozen,
)


class Busy(ConnectorError):
    """Another session holds what the run needs; the same run may succeed later."""

    code = "connector.busy"
    title = "System busy"
    hint = "Wait until the other session has ended; then run again."
    temporary = True


def table_name(prefix: str, table: str | None, request: LoadRequest) -> str:
    """Return the target's name: the configured one, or the stream's with its dots as underscores."""
    return table_of(prefix, table, request.table)


def table_of(prefix: str, table: str | None, stream: str) -> str:
    """Return the name of a stream's table."""
    return prefix + (table or stream.replace(".", "_"))


def check_columns(names: list[str]) -> None:
    """Raise Rejected for columns that a database without case in its names cannot tell apart."""
    seen: set[str] = set()
    for name in names:
        if not name or "\0" in name or name.lower() in seen:
            raise Rejected(
                f"Column {name!r} has no usable name, or one that another column has in other case."
            )
        seen.add(name.lower())


def check_addable(contract: SchemaContract, column: str) -> None:
    """Raise SchemaFrozen where the contract forbids the table a new column."""
    if contract == "freeze":
        raise SchemaFrozen(column, "is not in the table, and the schema is frozen.")


def check_alterable(contract: SchemaContract, column: str, held: str, given: str) -> None:
    """Raise SchemaFrozen where the contract forbids the column another type."""
    if contract == "freeze":
        raise unfit(contract, column, held, given)


def unfit(contract: SchemaContract, column: str, held: str, given: str) -> SchemaConflict:
    """Return the error of a column whose data the table cannot take, under either contract."""
    detail = f"is {held}, and the data, {given}, does not fit it exactly."
    return (SchemaFrozen if contract == "freeze" else SchemaConflict)(column, detail)


def check_key(key: tuple[str, ...], names: list[str]) -> None:
    """Raise Rejected unless every column of the primary key is brought."""
    if not key:
        raise Rejected("Rows can be merged only on a primary key, and the stream has none.")
    missing = [name for name in key if name not in names]
    if missing:
        raise Rejected(f"The output has no column {missing[0]!r}, which is in the primary key.")
