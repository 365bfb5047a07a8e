"""Transforms in Python and SQL, seen from the run's worker: a separate process (transform_process) runs them.

The process is a fresh Python executable, so it shares no memory with the worker. It has an empty environment
and no file descriptor except the socket. It is killed at the end of the run.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa

from headrace.engine.transforms.frames import TooLong, decoded, encoded, receive, send
from headrace.errors import HeadraceError
from headrace.pipeline.transforms import Transform

_ROWS = 10_000  # at most in one message: the process holds each row as Python objects
_BYTES = 32 * 1024**2  # about, in one message
_ASK_SECONDS = 0.5  # polling interval of `check`
_LARGEST = 1024**3  # bytes of an answer
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}


class TransformFailed(HeadraceError):
    """A transform failed on a record. The message has the record's number and none of its values."""

    code = "transform.failed"
    title = "Transform failed"
    hint = "Look at that record in the source, and correct the step or make it expect such a record."


class NoSandbox(HeadraceError):
    """The system cannot sandbox the process of transforms, so their code was not run."""

    code = "transform.no_sandbox"
    title = "No sandbox for transforms"
    hint = "Run on a Linux kernel with seccomp filters (x86-64 or arm64), or use `columns` steps only."


class _Failure(msgspec.Struct):
    """A failure as the process reports it. The process is not trusted, so nothing else is accepted."""

    step: int
    first: int
    last: int
    reason: str
    line: int


class CodeSteps:
    """Consecutive transforms with code. `check` is called while waiting, and may raise to end the wait."""

    def __init__(self, steps: Sequence[Transform], check: Callable[[], None]) -> None:
        self._steps = steps
        self._check = check

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", "-m", "headrace.engine.transforms.process"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
            )
        self._socket.settimeout(_ASK_SECONDS)
        codes = [{"python": step.python, "sql": step.sql} for step in self._steps]
        self._send(json.dumps(codes).encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def apply(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the transformed batch in parts. Raises TransformFailed, NoSandbox and what `check` raises."""
        rows = min(_ROWS, max(1, batch.num_rows * _BYTES // max(batch.nbytes, 1)))
        for start in range(0, max(batch.num_rows, 1), rows):
            self._send(encoded(batch.slice(start, rows)))
            answer = self._receive()
            if bytes(answer[:1]) != b"B":
                raise self._failure(answer[1:])
            yield self._decoded(answer[1:])

    def _decoded(self, answer: memoryview) -> pa.RecordBatch:
        try:
            batch = decoded(answer)
            # The code may control the process: never read a batch with invalid offsets.
            batch.validate(full=True)
        except (pa.ArrowException, OSError, StopIteration):
            raise self._ended() from None
        return batch

    def _failure(self, answer: memoryview) -> HeadraceError:
        try:
            failure = msgspec.json.decode(answer, type=_Failure)
        except msgspec.MsgspecError:
            return self._ended()
        if failure.step < 0:
            return NoSandbox("This system does not confine the process that would run the code.")
        label = self._steps[min(failure.step, len(self._steps) - 1)].label
        where = f"record {failure.first:,}"
        if failure.last != failure.first:
            where = f"one of the records {failure.first:,} to {failure.last:,}"
        line = f", line {failure.line}" if failure.line else ""
        return TransformFailed(f"The transform {label!r} failed at {where}: {failure.reason[:300]}{line}.")

    def _ended(self) -> TransformFailed:
        labels = ", ".join(repr(step.label) for step in self._steps)
        return TransformFailed(
            f"The process of the transforms {labels} ended: it may have used up its memory."
        )

    def _send(self, payload: bytes) -> None:
        send(self._write, payload)

    def _receive(self) -> memoryview:
        try:
            return memoryview(receive(self._read, most=_LARGEST))
        except TooLong:
            raise self._ended() from None

    def _write(self, rest: memoryview) -> int:
        try:
            return self._socket.send(rest)
        except TimeoutError:
            self._check()
            return 0
        except OSError:
            raise self._ended() from None

    def _read(self, size: int) -> bytes | None:
        try:
            part = self._socket.recv(size)
        except TimeoutError:
            self._check()
            return None
        except OSError:
            raise self._ended() from None
        if not part:
            raise self._ended()
        return part
