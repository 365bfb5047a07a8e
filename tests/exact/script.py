"""Histories at random: a seed decides the plan, the columns, the changes, the runs and their faults.

All is drawn before anything is played, so that a step can be left out and the others stay as they are.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, get_args

from cursor_forms import COLUMN_FORMS, FORMS, TEXT_FORMS
from destinations import TARGETS
from history_steps import (
    Add,
    Begin,
    Break,
    Commit,
    Delete,
    Drop,
    Intrude,
    Meanwhile,
    Mode,
    Plan,
    Put,
    Rename,
    Reset,
    Retype,
    Rival,
    Run,
    Script,
    Step,
)
from model import KINDS, UNUSUAL, WIDER, Column, Row
from sources import SOURCES

from headrace.failpoints import Point

_POINTS: tuple[Point, ...] = ("extracting", "writing", "written", "loaded", "committed")
_LOOKBACK = 10  # positions
_RIVAL_IDS = 10**9
_OWN = ("id", "changed")


def plans() -> list[Plan]:
    """Return every pair of a source and a target in every mode that both have."""
    return [
        Plan(source=source, target=target, mode=mode, cursor=cursor)
        for source, system in SOURCES.items()
        for target, kept in TARGETS.items()
        for mode in get_args(Mode)
        for cursor in (COLUMN_FORMS if mode != "full_refresh" and system.is_database else COLUMN_FORMS[:1])
        if mode in kept.modes
    ]


def script_of(seed: int, systems: frozenset[str]) -> Script:
    """Return the history of a seed: the plans of these systems are gone through in turn."""
    possible = [one for one in plans() if {one.source, one.target} <= systems]
    return _Writer(possible[seed % len(possible)], Random(seed)).script()


@dataclass(kw_only=True)
class _Drawn:
    """How far the changes have come."""

    clock: int = 0  # the cursor's position: it stays or grows
    clock_at_run: int = 0
    next_id: int = 1
    next_column: int = 0
    alive: list[int] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    is_open: bool = False  # a transaction


class _Writer:
    """Writes one script."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        self._rng = rng
        self._source, target = SOURCES[plan.source], TARGETS[plan.target]
        self._plan = self._with_features(plan)
        lacks = self._source.lacks | target.lacks | UNUSUAL
        self._kinds = sorted(KINDS.keys() - lacks)
        self._drifting = [kind for kind in WIDER if kind not in self._source.lacks | target.lacks]
        self._has_nulls = self._rng.random() < 0.25
        self._now = _Drawn()
        self._steps: list[Step] = []

    def script(self) -> Script:
        """Write it."""
        self._first_columns()
        self._plan = replace(self._plan, transforms=self._transforms())
        if self._rng.random() < 0.1:
            intrusion: Step | None = Intrude()
        else:
            intrusion = None
        for _ in range(self._rng.randint(2, 5)):
            self._change()
            self._before_run()
            self._steps.append(Run())
            self._now.clock_at_run = self._now.clock
            if intrusion and self._rng.random() < 0.5 and not self._plan.shared:
                self._steps.append(intrusion)
                intrusion = None
        return Script(plan=self._plan, steps=tuple(self._steps))

    def _with_features(self, plan: Plan) -> Plan:
        rng, source = self._rng, self._source
        paging = rng.choice(("offset", "page", "cursor", "link"))
        plan = replace(plan, drifts=rng.random() < 0.25, paging=paging)
        if not plan.is_incremental:
            return plan
        if source.has_cursor and rng.random() < (0.15 if source.is_database else 0.6):
            plan = replace(plan, cursor=rng.choice(TEXT_FORMS if source.is_database else tuple(FORMS)))
        return replace(
            plan,
            lookback=_LOOKBACK if source.has_cursor and rng.random() < 0.2 else 0,
            order=rng.choice(("asc", "desc", "")),
            shape=rng.choice(("dicts", "lists", "arrow")),
            shared=rng.random() < 0.08,
        )

    # Columns

    def _first_columns(self) -> None:
        self._now.columns = {
            "id": Column(name="id", kind="integer"),
            "changed": Column(name="changed", kind=FORMS[self._plan.cursor].kind),
        }
        self._steps += [Add(key=key, column=column) for key, column in self._now.columns.items()]
        for _ in range(self._rng.randint(1, 6)):
            self._add_column("c")

    def _add_column(self, start: str) -> None:
        kinds = self._drifting if self._plan.drifts and self._rng.random() < 0.6 else self._kinds
        key = f"{start}{self._now.next_column}"
        column = Column(name=key, kind=self._rng.choice(kinds))
        self._now.next_column += 1
        self._now.columns[key] = column
        self._steps.append(Add(key=key, column=column))

    def _transforms(self) -> tuple[tuple[str, str], ...]:
        rng = self._rng
        if rng.random() > 0.15:
            return ()
        free = [key for key in self._now.columns if key not in _OWN]
        rng.shuffle(free)
        hashed = [key for key in free if self._now.columns[key].kind in ("text", "integer", "small")]
        found = [("hash", key) for key in hashed[:1]]
        rest = [key for key in free if key not in hashed[:1]]
        found += [(rng.choice(("exclude", "rename")), key) for key in rest[: rng.randint(0, 2)]]
        if rng.random() < 0.15:
            found.append(("drop", rng.choice(("python", "sql"))))
        return tuple(found)

    # Changes

    def _change(self) -> None:
        rng, now = self._rng, self._now
        if now.is_open:
            self._steps.append(Commit())
            now.is_open = False
        if now.alive and rng.random() < (0.4 if self._plan.drifts else 0.15):
            self._change_columns()
        for _ in range(rng.choice((0, 1, 2, 5, 20))):
            now.clock += rng.choice((0, 0, 1, 7))  # ties are as common as steps
            what = rng.random()
            if now.alive and what < 0.25:
                number = rng.choice(now.alive)
                self._steps.append(Put(number=number, row=self._row(number)))
            elif now.alive and what < 0.35:
                number = rng.choice(now.alive)
                now.alive.remove(number)
                self._steps.append(Delete(number=number))
            else:
                self._steps += [Put(number=number, row=row) for number, row in self._new_rows(1).items()]
        if self._source.has_transactions and rng.random() < 0.3:
            self._steps.append(Begin(rows=self._new_rows(rng.randint(1, 3), late=False)))
            now.is_open = True
            now.clock += rng.choice((0, 1, 7))

    def _change_columns(self) -> None:
        rng, columns = self._rng, self._now.columns
        kept = {*_OWN, *(name for _, name in self._plan.transforms)}
        free = [key for key in columns if key not in kept]
        possible = sorted(self._source.alters(self._plan.mode)) if self._plan.drifts and free else []
        what = rng.choice(["Add", *possible])
        if what == "Add":
            self._add_column("late")
            return
        key = rng.choice(free)
        wider = [kind for kind in WIDER.get(columns[key].kind, ()) if kind in (*self._kinds, "small")]
        if what == "Drop":
            del columns[key]
            self._steps.append(Drop(key=key))
        elif what == "Rename":
            name = f"{columns[key].name}_new"
            columns[key] = replace(columns[key], name=name)
            self._steps.append(Rename(key=key, name=name))
        elif wider:
            columns[key] = replace(columns[key], kind=rng.choice(wider))
            self._steps.append(Retype(key=key, kind=columns[key].kind))

    def _new_rows(self, count: int, *, late: bool = True) -> dict[int, Row]:
        rows = {}
        for _ in range(count):
            number = self._now.next_id
            self._now.next_id += 1
            self._now.alive.append(number)
            rows[number] = self._row(number, late=late)
        return rows

    def _row(self, number: int, *, late: bool = True) -> Row:
        row: Row = {"id": number, "changed": self._position(late=late)}
        for key, column in self._now.columns.items():
            if key not in _OWN:
                row[key] = None if self._rng.random() < 0.2 else KINDS[column.kind].make(self._rng)
        return row

    def _position(self, *, late: bool) -> Any:
        rng, plan = self._rng, self._plan
        if self._has_nulls and rng.random() < 0.15:
            return None
        position = self._now.clock
        if late and plan.lookback and self._now.clock_at_run and rng.random() < 0.3:
            position = max(0, self._now.clock_at_run - rng.randint(0, plan.lookback))
        return FORMS[plan.cursor].write(position)

    # Around a run

    def _before_run(self) -> None:
        rng, plan = self._rng, self._plan
        if plan.shared and rng.random() < 0.6:
            start = _RIVAL_IDS + 10 * len(self._steps)
            self._steps.append(Rival(ids=tuple(range(start, start + rng.randint(1, 3)))))
        if plan.is_incremental and not plan.shared and rng.random() < 0.05:
            self._steps.append(Reset())
        if self._can_move() and rng.random() < 0.4:
            self._steps.append(Meanwhile(rows=self._moved_rows()))
        else:
            self._maybe_break()

    def _can_move(self) -> bool:
        """Whether rows may be written between two pages so that no page lacks another's row."""
        plan = self._plan
        moves = plan.order == "asc" or (plan.order == "desc" and plan.mode == "merge")
        return self._source.is_paged and plan.is_incremental and moves

    def _moved_rows(self) -> dict[int, Row]:
        now = self._now
        now.clock += 1
        form = FORMS[self._plan.cursor]
        count = self._rng.randint(1, 2)
        inserts = self._plan.order == "asc" or self._has_nulls or not now.alive
        if inserts or self._rng.random() < 0.5:
            rows = self._new_rows(count)
        else:
            chosen = self._rng.sample(now.alive, min(count, len(now.alive)))
            rows = {number: self._row(number) for number in chosen}
        return {number: {**row, "changed": form.write(now.clock)} for number, row in rows.items()}

    def _maybe_break(self) -> None:
        chance = self._rng.random()
        if chance > 0.25:
            return
        point = self._rng.choice(_POINTS)
        action = "kill" if chance < 0.03 else "cancel" if chance < 0.1 else "raise"
        self._steps.append(Break(point=point, action=action, moments=self._rng.randint(0, 2)))
