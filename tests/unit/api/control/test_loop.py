import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from waiting import eventually

from headrace.errors import Unavailable
from headrace_api.control.loop import LONGEST_BACKOFF, Loop, backoff, for_each


@pytest.fixture
def start() -> Iterator[Callable[..., Loop]]:
    started: list[Loop] = []

    def make(work: Callable[[], bool | None], interval: float = 60.0) -> Loop:
        loop = Loop("test", work, interval=interval)
        started.append(loop)
        loop.start()
        return loop

    yield make
    for loop in started:
        loop.stop()
        assert loop.join(5)


def test_the_first_round_begins_at_once_and_the_next_on_a_wake_up(start: Callable[..., Loop]) -> None:
    rounds: list[int] = []
    loop = start(lambda: rounds.append(1))
    assert eventually(lambda: len(rounds) == 1)

    loop.wake()

    assert eventually(lambda: len(rounds) == 2)


def test_a_round_begins_after_each_interval(start: Callable[..., Loop]) -> None:
    rounds: list[int] = []

    start(lambda: rounds.append(1), interval=0.01)

    assert eventually(lambda: len(rounds) > 3)


def test_work_says_when_there_may_be_more(start: Callable[..., Loop]) -> None:
    rounds: list[int] = []

    def work() -> float:
        rounds.append(1)
        return 0.01

    start(work)

    assert eventually(lambda: len(rounds) > 3)


def test_work_that_left_more_goes_on_at_once(start: Callable[..., Loop]) -> None:
    left = [True, True, False]

    start(lambda: left.pop(0))

    assert eventually(lambda: left == [])


def test_many_wake_ups_during_a_round_lead_to_one_more(start: Callable[..., Loop]) -> None:
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)
    rounds: list[int] = []

    def work() -> None:
        rounds.append(1)
        entered.release()
        go_on.acquire(timeout=5)

    loop = start(work)
    entered.acquire(timeout=5)
    for _ in range(50):
        loop.wake()
    go_on.release(2)

    assert entered.acquire(timeout=5)
    assert not entered.acquire(timeout=0.1)
    assert len(rounds) == 2


def test_a_failure_of_any_kind_does_not_end_the_loop(
    start: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace_api.control.loop.SHORTEST_BACKOFF", 0.01)
    rounds: list[int] = []

    def work() -> None:
        rounds.append(1)
        raise [Unavailable("It is down."), ZeroDivisionError()][len(rounds) % 2]

    start(work)

    assert eventually(lambda: len(rounds) > 3)


def test_wake_ups_do_not_flood_a_service_that_is_down(start: Callable[..., Loop]) -> None:
    rounds: list[int] = []

    def work() -> None:
        rounds.append(1)
        raise Unavailable("It is down.")

    loop = start(work)
    assert eventually(lambda: len(rounds) == 1)
    for _ in range(20):
        loop.wake()
        time.sleep(0.005)

    assert len(rounds) == 1


def test_a_loop_that_waits_stops_at_once(start: Callable[..., Loop]) -> None:
    loop = start(lambda: False)

    loop.stop()

    assert loop.join(1)


def test_a_loop_in_the_middle_of_its_work_is_not_waited_for() -> None:
    release = threading.Event()
    loop = Loop("test", lambda: release.wait(5), interval=60)
    loop.start()

    loop.stop()
    joined_early = loop.join(0.05)
    release.set()

    assert not joined_early
    assert loop.join(5)


def test_the_backoff_grows_to_a_limit_and_has_jitter() -> None:
    first = [backoff(1) for _ in range(50)]
    late = [backoff(100) for _ in range(50)]

    assert max(first) <= 0.5
    assert LONGEST_BACKOFF / 2 <= min(late) <= max(late) <= LONGEST_BACKOFF
    assert len(set(first)) > 10


def test_a_logged_failure_is_masked(start: Callable[..., Loop], caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        raise RuntimeError("cannot connect to postgresql://owner:hunter2@db/records")

    with caplog.at_level(logging.WARNING):
        start(work)
        assert eventually(lambda: "RuntimeError" in caplog.text)

    assert "hunter2" not in caplog.text


def test_what_goes_wrong_with_one_thing_holds_up_none_of_the_others() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item % 2:
            raise ValueError(str(item))
        done.append(item)

    with pytest.raises(ValueError, match="1"):
        for_each(range(5), work)

    assert done == [0, 2, 4]


def test_a_part_that_is_away_is_asked_once_a_round() -> None:
    asked: list[int] = []

    def work(item: int) -> None:
        asked.append(item)
        raise Unavailable("It is down.")

    with pytest.raises(Unavailable):
        for_each(range(5), work)

    assert asked == [0]
