import threading
from collections.abc import Callable

from headrace_api.control.loop import Loop, go_on
from headrace_api.control.watch import Watch

SECONDS = 0.2


def watched(work: Callable[[], None]) -> tuple[Loop, Watch, threading.Event]:
    ended = threading.Event()
    loop = Loop("test", work, interval=0.01)
    watch = Watch([loop], seconds=SECONDS, end=ended.set)
    loop.start()
    watch.start()
    return loop, watch, ended


def test_a_loop_that_hangs_ends_the_process() -> None:
    release = threading.Event()
    loop, watch, ended = watched(lambda: release.wait() and None)

    assert ended.wait(30)

    release.set()
    watch.stop()
    loop.stop()
    assert loop.join(5)


def test_a_long_round_that_goes_on_ends_nothing() -> None:
    done = threading.Event()

    def work() -> None:
        for _ in range(100):
            go_on()
            done.wait(SECONDS / 20)
        done.set()

    loop, watch, ended = watched(work)

    assert done.wait(30)
    assert not ended.is_set()
    watch.stop()
    loop.stop()
    assert loop.join(5)
