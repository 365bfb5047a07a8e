"""That the harness notices what goes wrong, and says it in few steps."""

import pytest
import reduction
from destinations import SqliteTarget
from history_steps import Add, Delete, Plan, Put, Run, Script, Step
from model import Column
from run import a_platform, kind_of, play
from servers import Servers

pytestmark = pytest.mark.slow

_NO_SERVERS = Servers(postgres=None, mariadb=None)  # the systems of this file are files
_COLUMNS: tuple[Step, ...] = (
    Add(key="id", column=Column(name="id", kind="integer")),
    Add(key="changed", column=Column(name="changed", kind="integer")),
    Add(key="c0", column=Column(name="c0", kind="text")),
)
_PLAN = Plan(source="sqlite", target="sqlite", mode="append", cursor="integer")


def _put(number: int) -> Put:
    return Put(number=number, row={"id": number, "changed": number, "c0": "x"})


def test_a_lost_row_is_noticed_and_reduced_to_the_steps_that_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (*_COLUMNS, _put(1), _put(2), Run(), _put(3), Delete(number=1), Run(), _put(4), Run())
    script = Script(plan=_PLAN, steps=steps)
    whole = SqliteTarget.rows
    monkeypatch.setattr(SqliteTarget, "rows", lambda own: [row for row in whole(own) or () if row["id"] != 3])

    with a_platform() as platform:

        def problem(smaller: Script) -> str:
            return play(0, smaller, platform, _NO_SERVERS).problem

        found = problem(script)
        kept = reduction.shrunk(
            script, lambda smaller: kind_of(problem(smaller)) == kind_of(found), seconds=60
        )

    assert found.startswith("Violation: 1 missing")
    assert kept[:3] == [0, 1, 6]  # the columns that every row has, row 3, and a run
    assert [type(steps[place]) for place in kept[3:]] == [Run]


def test_places_are_written_and_read_alike() -> None:
    places = [0, 1, 2, 5, 7, 8]

    assert reduction.written(places) == "0-2,5,7-8"
    assert reduction.read(reduction.written(places)) == places
