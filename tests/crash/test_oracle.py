"""The oracle of `make crash` sees what may never be seen: otherwise a quiet driver would prove nothing."""

from typing import Any

import pytest
from home import Answer, Home
from later import Later, settle
from shrink import shrunk
from steps import History
from tables import Row, Truth
from timetable import _runs, _slots
from watch import DestinationWatch, RunWatch


class Shown:
    """A destination that shows what a test says."""

    is_shared = True
    shown: list[Row]

    def config(self) -> dict[str, Any]:
        return {}

    def rows(self) -> list[Row]:
        return self.shown

    def strays(self) -> list[str]:
        return []


class Told(RunWatch):
    """Sees the states of one run that a test says."""

    def __init__(self, *statuses: str) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is asked
        for place, status in enumerate(statuses):
            ended = {"finished_at": place if status not in ("pending", "running") else None}
            self._see({"id": "a", "status": status, "error": None, "started_at": None, **ended})


@pytest.fixture
def truth() -> Truth:
    """A source that has had two states."""
    made = Truth("replace")
    made.grow(2)
    made.grow(1)
    return made


def seen(truth: Truth, *shown: list[Row]) -> list[str]:
    destination = Shown()
    watch = DestinationWatch("t", destination, truth)
    for rows in shown:
        destination.shown = rows
        watch.look()
    return watch.problems


def test_a_part_of_a_load_rows_twice_and_an_older_state_are_seen(truth: Truth) -> None:
    newest = list(truth.rows.values())
    older = [(1, 1, "note 1 of 1"), (2, 1, "note 2 of 1")]

    assert seen(truth, [], older, newest) == []
    assert "never been" in seen(truth, newest[:2])[0]
    assert "twice" in seen(truth, newest + newest[:1])[0]
    assert "went back" in seen(truth, newest, older)[0]
    assert "went back" in seen(truth, newest, [])[0]


def test_a_run_that_changes_after_its_end_or_goes_backwards_is_seen() -> None:
    assert (
        Told("pending", "running", "pending", "running", "success", "success").problems != []
    )  # another end
    assert Told("pending", "running", "pending", "running", "success").problems == []
    assert Told("cancelled", "success").problems
    assert Told("failed", "pending").problems


def test_a_server_error_is_seen_unless_it_says_when_to_come_again() -> None:
    home = Home.__new__(Home)
    home.problems = []
    for status, headers in ((503, {"retry-after": "5"}), (404, {}), (503, {}), (500, {"retry-after": "5"})):
        home._judge("GET", "/api/runs", Answer(status=status, body=None, headers=headers, seconds=0.0))

    assert [problem.split()[3] for problem in home.problems] == ["503", "500"]


def test_a_slot_twice_or_left_out_and_a_false_ledger_are_seen() -> None:
    first, second, third = (
        {"scheduled_at": f"2026-01-01T00:0{minute}:00Z", "outcome": "run", "run_id": str(minute)}
        for minute in range(3)
    )
    runs = [{"id": one["run_id"], "scheduled_at": one["scheduled_at"]} for one in (first, second, third)]

    assert _slots([first, second, third]) == [] == _runs([first, second, third], runs)
    assert _slots([first, first])
    assert _slots([first, third])
    assert _runs([first, second], runs)


def test_what_does_not_become_true_in_time_is_told_and_what_does_leads_on() -> None:
    led_on: list[str] = []
    true = Later(what="true", look=lambda: "", then=lambda: led_on.append("on"), deadline=0)
    late = Later(what="late", look=lambda: "still going", deadline=0)

    assert settle([true, late], wait=False) == ["late: still going"]
    assert led_on == ["on"]


def test_a_history_is_shortened_to_the_steps_that_make_it_fail() -> None:
    steps = tuple({"do": "wait", "number": number} for number in range(12))
    history = History(seed=1, records="sqlite", pipelines=(), steps=steps)

    def fails(shorter: History) -> bool:
        return {3, 8} <= {step["number"] for step in shorter.steps}

    assert [step["number"] for step in shrunk(history, fails, seconds=60).steps] == [3, 8]
