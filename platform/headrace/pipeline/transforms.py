"""The transforms in a configuration: steps that change records, each of one kind.

Code is checked here for its syntax and its imports, and runs in `engine/transform_process.py` only.
docs/transforms.md says what each kind does.
"""

import ast
import re
import warnings
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS

MODULES = frozenset(
    [
        "base64",
        "bisect",
        "calendar",
        "collections",
        "collections.abc",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "html",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
        "textwrap",
        "time",
        "typing",
        "unicodedata",
        "urllib.parse",
        "uuid",
        "zlib",
    ]
)
"""Modules that Python code may import. None of them reads files, opens connections or starts processes."""

_LONGEST_CODE = 100_000
_TYPES = r"bool|int64|double|string|date32|timestamp\[us(, ?UTC)?\]|decimal128\([1-9]\d?, ?\d\d?\)"
_NOT_COMPILED = (SyntaxError, ValueError, RecursionError, MemoryError)
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]


def _check_python(code: str) -> str:
    """Raise PydanticCustomError with the line of a syntax error or a forbidden import."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(code)
            compile(tree, "transform", "exec")
    except _NOT_COMPILED as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or "this cannot be compiled"
        raise _fault("python_syntax", f"Line {line}: {reason}.") from None
    for node in ast.walk(tree):
        for name in _imported(node):
            if name not in MODULES:
                raise _fault("python_import", f"Line {node.lineno}: {name} cannot be imported here.")  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            raise _fault("python_private", f"Line {node.lineno}: {node.attr} cannot be used here.")
    return code


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def _check_sql(query: str) -> str:
    """Raise PydanticCustomError unless the query is one SELECT."""
    import duckdb  # here, since few pipelines have a query

    try:
        with duckdb.connect(":memory:") as connection:
            statements = connection.extract_statements(query)
    except duckdb.Error as error:
        # The message quotes the query, which may hold a personal value; the line does not.
        line = re.search(r"LINE (\d+):", str(error))
        raise _fault("sql_syntax", f"Line {line[1] if line else 1}: DuckDB cannot parse this.") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _fault("sql_not_a_query", "Give one SELECT, which reads from `data`.")
    return query


def _fault(kind: str, detail: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{detail}", {"detail": detail})


class Hashing(Section):
    """Columns whose values become keyed hashes."""

    columns: Names
    salt: SecretStr = Field(min_length=16, description="Key of the hashes: keep it to keep them the same.")


class Columns(Section):
    """Changes of whole columns. All names are those before this step."""

    takes_references: ClassVar[bool] = False

    select: Names | None = Field(None, description="The columns to keep; all when absent.")
    exclude: Names | None = Field(None, description="The columns to leave out.")
    hash: Hashing | None = None
    cast: dict[Name, Annotated[str, Field(pattern=rf"^({_TYPES})$")]] = Field({})
    rename: dict[Name, Name] = Field({}, description="New names, by old name.")
    missing: Literal["fail", "ignore"] = Field(
        "fail", description="What to do if no record has a column that is named here."
    )

    @field_validator("cast")
    @classmethod
    def _refuse_impossible_decimals(cls, cast: dict[str, str]) -> dict[str, str]:
        for declared in cast.values():
            digits = [int(number) for number in re.findall(r"\d+", declared.partition("(")[2])]
            if digits and not digits[1] <= digits[0] <= DECIMAL_DIGITS:
                raise _fault(
                    "decimal",
                    f"A decimal has 1 to {DECIMAL_DIGITS} digits, and its scale is at most its precision.",
                )
        return cast

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Columns":
        if self.select and self.exclude:
            raise _fault("contradiction", "Give `select` or `exclude`, not both.")
        if self.hash and self.cast.keys() & set(self.hash.columns):
            raise _fault("contradiction", "A column is hashed or cast, not both: a hash is text.")
        if len(set(self.rename.values())) < len(self.rename):
            raise _fault("contradiction", "Two columns get the same new name.")
        return self


class Transform(Section):
    """A step that changes records: Python code, a query, or changes of columns."""

    takes_references: ClassVar[bool] = False
    address_fields: ClassVar[tuple[str, ...]] = ("label",)

    label: str = Field(min_length=1, max_length=100, description="What the log calls the step.")
    python: Annotated[str, AfterValidator(_check_python)] | None = Field(None, max_length=_LONGEST_CODE)
    sql: Annotated[str, AfterValidator(_check_sql)] | None = Field(None, max_length=_LONGEST_CODE)
    columns: Columns | None = None

    @model_validator(mode="after")
    def _require_one_kind(self) -> "Transform":
        if [self.python, self.sql, self.columns].count(None) != 2:
            raise _fault("one_kind", "A transform has one of `python`, `sql` and `columns`.")
        return self
