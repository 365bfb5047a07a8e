"""The supervisor over real small processes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import eventually

from headrace.cli.platform.supervisor import Child, ChildRefused, Supervisor, Timing

QUICK = Timing(first_delay=0.05, longest_delay=0.2, steady_after=5.0, stage=0.3, kill_after=0.8)


def child(tmp_path: Path, program: str, name: str = "child") -> Child:
    return Child(
        name=name,
        argv=(sys.executable, "-c", f"import os, sys, time, signal, subprocess\n{program}"),
        environment={**os.environ, "FOLDER": str(tmp_path)},
        log=tmp_path / f"{name}.log",
    )


def supervise(
    children: list[Child],
    *,
    until: Callable[[], bool],
    said: list[str] | None = None,
    seconds: float = 10,
) -> list[str]:
    """Run the children until the condition holds, stop them, and return what was announced."""
    said = [] if said is None else said

    async def run() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Supervisor(children, announce=said.append, timing=QUICK).run(stop))
        deadline = time.monotonic() + seconds
        while not until() and not running.done() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        stop.set()
        await running

    asyncio.run(run())
    assert until()
    return said


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() and path.read_text() else None


TELL_PID = "open(os.environ['FOLDER'] + '/pid', 'w').write(str(os.getpid()))\n"


def test_a_stop_ends_every_child(tmp_path: Path) -> None:
    children = [
        child(tmp_path, "print(os.getpid(), flush=True); time.sleep(60)", name) for name in ("a", "b")
    ]

    supervise(children, until=lambda: all(each.log.read_text() for each in children))

    assert not any(is_alive(int(each.log.read_text())) for each in children)


def test_a_child_that_dies_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    dying = child(tmp_path, "print('life', flush=True); sys.exit(3)", "api")

    said = supervise([dying], until=lambda: dying.log.exists() and dying.log.read_text().count("life") >= 3)

    assert said[0].startswith("api exited with code 3; restarting it in 0.05 s")
    assert said[1].startswith("api exited with code 3; restarting it in 0.1 s")


def test_a_child_that_was_killed_is_said_to_have_been(tmp_path: Path) -> None:
    killed = child(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", "daemon")
    said: list[str] = []

    async def run() -> None:
        stop = asyncio.Event()

        def announce(sentence: str) -> None:
            said.append(sentence)
            stop.set()

        await Supervisor([killed], announce=announce, timing=QUICK).run(stop)

    asyncio.run(run())

    assert "daemon was ended by SIGKILL" in said[0]


def test_a_child_that_refuses_to_start_ends_them_all_with_its_own_words(tmp_path: Path) -> None:
    refusing = child(tmp_path, "print('There is no keyring.', file=sys.stderr); sys.exit(78)")
    other = child(tmp_path, TELL_PID + "time.sleep(60)", "other")

    with pytest.raises(ChildRefused, match="There is no keyring"):
        supervise([refusing, other], until=lambda: False)

    pid = pid_in(tmp_path / "pid")
    assert pid is None or not is_alive(pid)


def test_a_child_deaf_to_sigterm_is_killed_in_time(tmp_path: Path) -> None:
    deaf = child(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + TELL_PID + "time.sleep(60)")
    stopping: list[float] = []

    def started() -> bool:
        stopping.append(time.monotonic())
        return pid_in(tmp_path / "pid") is not None

    supervise([deaf], until=started)

    assert time.monotonic() - stopping[-2] < QUICK.kill_after + QUICK.stage + 0.5
    assert not is_alive(pid_in(tmp_path / "pid") or 0)


def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    worker = "import os, time; " + TELL_PID + "time.sleep(60)"
    server = child(tmp_path, f"subprocess.Popen([sys.executable, '-c', {worker!r}]); time.sleep(60)")

    supervise([server], until=lambda: pid_in(tmp_path / "pid") is not None)

    assert not is_alive(pid_in(tmp_path / "pid") or 0)


def test_what_a_child_has_started_lives_until_the_child_has_ended(tmp_path: Path) -> None:
    worker = "import os, time; " + TELL_PID + "time.sleep(60)"
    server = child(
        tmp_path,
        f"worker = subprocess.Popen([sys.executable, '-c', {worker!r}])\n"
        "def stop(*_):\n"
        "    time.sleep(0.1)\n"
        "    open(os.environ['FOLDER'] + '/found', 'w').write(str(worker.poll()))\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "time.sleep(60)",
    )

    supervise([server], until=lambda: pid_in(tmp_path / "pid") is not None)

    assert (tmp_path / "found").read_text() == "None"
    assert not is_alive(pid_in(tmp_path / "pid") or 0)


def test_a_worker_that_outlives_its_server_still_ends_with_the_platform(tmp_path: Path) -> None:
    worker = "import os, time; " + TELL_PID + "time.sleep(60)"
    server = child(
        tmp_path,
        "pid = os.environ['FOLDER'] + '/pid'\n"
        f"if os.path.exists(pid): time.sleep(60)\n"
        f"subprocess.Popen([sys.executable, '-c', {worker!r}])\n"
        "while not os.path.exists(pid): time.sleep(0.01)\n"
        "sys.exit(1)",
    )

    said: list[str] = []

    supervise([server], until=lambda: len(said) == 1, said=said)

    assert not is_alive(pid_in(tmp_path / "pid") or 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from headrace.cli.platform.supervisor import Child, Supervisor\n"
        "child = Child(name='c', argv=(sys.executable, '-c', sys.argv[1]), environment={},"
        " log=pathlib.Path(sys.argv[2]))\n"
        "asyncio.run(Supervisor([child], announce=print).run(asyncio.Event()))\n"
    )
    log = tmp_path / "child.log"
    sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"

    supervisor = subprocess.Popen([sys.executable, "-c", program, sleeper, str(log)])
    eventually(lambda: log.exists() and log.read_text().strip() != "")
    pid = int(log.read_text())
    supervisor.kill()
    supervisor.wait()

    eventually(lambda: not is_alive(pid))
