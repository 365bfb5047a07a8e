"""Interrupts of a run: signals that this process sends to itself."""

import os
import signal
from contextlib import suppress

import pytest

from headrace.engine.interrupts import Interrupted, Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_raised_where_the_run_says_and_only_once(number: signal.Signals) -> None:
    interrupts, reached = Interrupts(), []

    def work() -> None:
        with interrupts.raised():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)
                reached.append("the end of the cleaning up")

    with interrupts.held(), pytest.raises(Interrupted):
        work()

    assert reached == ["the end of the cleaning up"]


def test_an_interrupt_that_comes_too_early_is_raised_as_soon_as_it_may() -> None:
    interrupts, reached = Interrupts(), []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("claimed")
        with interrupts.raised():
            reached.append("read")

    with interrupts.held(), pytest.raises(Interrupted):
        work()

    assert reached == ["claimed"]


def test_an_interrupt_that_a_connector_swallows_is_raised_by_the_next_check() -> None:
    interrupts = Interrupts()

    def work() -> None:
        with interrupts.raised():
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGINT)
            interrupts.check()

    with interrupts.held(), pytest.raises(Interrupted):
        work()


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with Interrupts().held():
        pass

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
