"""What happens in a history: small steps, each of which can be left out when a failure is reduced."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from model import Column, Row, Table

from headrace.failpoints import Point

Mode = Literal["full_refresh", "append", "merge"]
Fault = Literal["raise", "kill", "cancel"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a history is about."""

    source: str
    target: str
    mode: Mode
    cursor: str  # the form of the cursor column
    lookback: int = 0  # positions; 0: none
    drifts: bool = False  # columns change their types and names, and go
    order: str = ""  # of a REST list: asc, desc, or none that is promised
    paging: str = "offset"  # of a REST list
    shape: str = "dicts"  # of what a Python function yields
    transforms: tuple[str, ...] = ()
    shared: bool = False  # a second pipeline adds to the table

    @property
    def is_incremental(self) -> bool:
        """Whether runs read what is new only."""
        return self.mode != "full_refresh"


@dataclass(frozen=True, kw_only=True)
class Put:
    """A new row, or new values of one: by the columns' keys."""

    number: int
    row: Row


@dataclass(frozen=True, kw_only=True)
class Delete:
    """A row goes."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Add:
    """A column comes."""

    key: str
    column: Column


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A column goes."""

    key: str


@dataclass(frozen=True, kw_only=True)
class Rename:
    """A column gets another name."""

    key: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Retype:
    """A column gets another type."""

    key: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Rows are written in a transaction that stays open."""

    rows: Mapping[int, Row]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """It is committed."""


@dataclass(frozen=True, kw_only=True)
class Meanwhile:
    """Rows are written while the next run reads, between two pages."""

    rows: Mapping[int, Row]


@dataclass(frozen=True, kw_only=True)
class Reset:
    """The state is reset: the next run reads everything and replaces the table."""


@dataclass(frozen=True, kw_only=True)
class Intrude:
    """A second pipeline wants the table, which it must not get."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The second pipeline of a shared table adds rows of its own."""

    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Break:
    """The next run meets a fault."""

    point: Point
    action: Fault
    moments: int = 0  # of progress, before a cancel


@dataclass(frozen=True, kw_only=True)
class Run:
    """The pipeline runs."""


Change = Put | Delete | Add | Drop | Rename | Retype
Step = Change | Begin | Commit | Meanwhile | Reset | Intrude | Rival | Break | Run


@dataclass(frozen=True, kw_only=True)
class Script:
    """A whole history, before it is played."""

    plan: Plan
    steps: tuple[Step, ...]


def applies(table: Table, step: Change) -> bool:
    """Whether a change has something to change; in a reduced history it may have nothing."""
    match step:
        case Delete():
            return step.number in table.rows
        case Drop() | Rename() | Retype():
            return step.key in table.columns
    return True


def change(table: Table, step: Change) -> None:
    """Apply a change to the table."""
    columns = table.columns
    match step:
        case Put():
            table.rows[step.number] = step.row
        case Delete():
            del table.rows[step.number]
        case Add():
            columns[step.key] = step.column
        case Drop():
            del columns[step.key]
        case Rename():
            columns[step.key] = replace(columns[step.key], name=step.name)
        case Retype():
            columns[step.key] = replace(columns[step.key], kind=step.kind)


def described(step: Step) -> str:
    """Return a step as a line of a failure's report."""
    values: dict[str, Any] = vars(step)
    return f"{type(step).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"
