"""Supervises processes: starts them together, restarts those that die, and stops them in time."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace.cli.platform.child_log import ChildLog
from headrace.errors import StartupError

_PR_SET_PDEATHSIG = 1  # prctl(2)


class ChildRefused(StartupError):
    """A process exited with code 78: another start cannot succeed."""

    code = "process.refused"
    title = "A process cannot start"


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process to keep running. `environment` is its complete environment."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times in seconds. A stop takes at most `kill_after`, plus the time to end killed processes."""

    first_delay: float = 0.5  # before a restart; doubles with each restart
    longest_delay: float = 30.0
    steady_after: float = 60.0  # a child that ran this long has recovered, so its delay is reset
    stage: float = 2.0  # how long one child may take to end before the next is stopped
    kill_after: float = 8.0  # how long all may take before those left are killed


Announce = Callable[[str], None]


class Supervisor:
    """Keeps children running, each in its own session, so Ctrl-C reaches only the supervisor.

    On Linux, the children get SIGTERM if the supervisor is killed. `announce` gets messages for people.
    """

    def __init__(
        self, children: Sequence[Child], *, announce: Announce, timing: Timing | None = None
    ) -> None:
        self._timing = timing or Timing()
        self._keepers = [_Keeper(child, announce, self._timing) for child in children]

    async def run(self, stop: asyncio.Event) -> None:
        """Start all children at once, and keep them running until `stop` is set. Then stop them in order.

        Raises ChildRefused if a child exits with 78, after it has stopped the others.
        """
        stopping = asyncio.create_task(stop.wait())
        keeping = [asyncio.create_task(keeper.keep()) for keeper in self._keepers]
        try:
            done, _ = await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Cancel these first, so a child that is stopped is not restarted.
            for task in (stopping, *keeping):
                task.cancel()
            await asyncio.gather(stopping, *keeping, return_exceptions=True)
            await self._stop()
        for task in done - {stopping}:
            task.result()

    async def _stop(self) -> None:
        deadline = time.monotonic() + self._timing.kill_after
        for keeper in self._keepers:
            keeper.terminate()
            await keeper.wait_ended(min(time.monotonic() + self._timing.stage, deadline))
        for keeper in self._keepers:
            await keeper.wait_ended(deadline)
        for keeper in self._keepers:
            keeper.kill()
        for keeper in self._keepers:
            await keeper.wait_ended(time.monotonic() + self._timing.stage)
            await keeper.close()


class _Keeper:
    """One child, and the process groups left by it and its predecessors."""

    def __init__(self, child: Child, announce: Announce, timing: Timing) -> None:
        self._child = child
        self._announce = announce
        self._timing = timing
        self._log = ChildLog(child.log)
        self._process: asyncio.subprocess.Process | None = None
        self._groups: set[int] = set()
        self._leader = 0  # the child's process id, from its SIGTERM to its end

    async def keep(self) -> None:
        """Run the child, and restart it whenever it ends. Ends only by raising ChildRefused."""
        asyncio.get_running_loop().add_reader(self._log.reader, self._log.pump)
        delay = self._timing.first_delay
        while True:
            started = time.monotonic()
            code = await self._run_once()
            if code == StartupError.exit_code:
                raise ChildRefused(f"{self._child.name} cannot start:\n{self._log.last_lines()}")
            if time.monotonic() - started >= self._timing.steady_after:
                delay = self._timing.first_delay
            self._announce(
                f"{self._child.name} {_ended(code)}; restarting it in {delay:g} s. See {self._child.log}"
            )
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._timing.longest_delay)

    async def _run_once(self) -> int:
        self._log.begin()
        self._process = await asyncio.create_subprocess_exec(
            *self._child.argv,
            env=dict(self._child.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._log.writer,
            stderr=self._log.writer,
            start_new_session=True,
            preexec_fn=partial(_end_with, os.getpid()),
        )
        self._groups.add(self._process.pid)
        code = await self._process.wait()
        self._groups = {group for group in self._groups if _exists(group)}
        return code

    def terminate(self) -> None:
        """Send SIGTERM to the child, and to the process groups that its predecessors have left.

        The child ends its descendants itself: a code server whose fork server was ended would take its
        workers for dead. Descendants that are left once it has ended get SIGTERM from `wait_ended`.
        """
        if self._process is not None and self._process.returncode is None:
            self._leader = self._process.pid
        for group in self._groups:
            _send(os.kill if group == self._leader else os.killpg, group, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the child, its descendants, and those left by its predecessors."""
        for group in self._groups:
            _send(os.killpg, group, signal.SIGKILL)

    async def wait_ended(self, deadline: float) -> None:
        """Wait until no process is left, or until the deadline, a time of the monotonic clock."""
        while self._groups and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            self._groups = {group for group in self._groups if _exists(group)}
            if self._process is not None and self._process.returncode is not None:
                if self._leader in self._groups:
                    _send(os.killpg, self._leader, signal.SIGTERM)
                self._leader = 0

    async def close(self) -> None:
        """Close the log, after the last process has ended."""
        if self._process is not None and not self._groups:
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._log.reader)
        self._log.close()


def _end_with(parent: int) -> None:
    """Make Linux send this process SIGTERM when its parent ends for any reason."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the call above; then no signal is sent.
    if os.getppid() != parent:
        os._exit(1)


# Loaded before any fork, because a child should do little between fork and exec.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _send(send: Callable[[int, int], None], to: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(to, number)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # on macOS, if only zombies are left in the group
        return False
    return True


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
