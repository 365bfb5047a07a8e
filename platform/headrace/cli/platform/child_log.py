"""The output of a child process, in log files of limited size."""

import os
from collections import deque
from pathlib import Path

_LARGEST = 5 * 1024 * 1024
_KEPT = 3
_TAIL_LINES = 20


class ChildLog:
    """A log file of at most 5 MiB. The three older files are `name.log.1` to `name.log.3`.

    Children write to `writer`, the end of a pipe. Call `pump` when `reader`, the other end, has data. The
    pipe outlives the child, so no output is lost, and the next child continues in the same file.
    """

    def __init__(self, path: Path, *, largest: int = _LARGEST) -> None:
        self._path = path
        self._largest = largest
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _open_private(path)
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def pump(self) -> None:
        """Move the data in the pipe to the file. Never waits."""
        while chunk := self._read():
            if os.fstat(self._file).st_size + len(chunk) > self._largest:
                self._rotate()
            os.write(self._file, chunk)
            self._tail.extend(chunk.splitlines())

    def begin(self) -> None:
        """Forget the last lines, because a new child starts."""
        self._tail.clear()

    def last_lines(self) -> str:
        """Return the last lines that the current child has printed."""
        self.pump()
        return b"\n".join(self._tail).decode(errors="replace")

    def close(self) -> None:
        """Write the rest of the pipe to the file, and close both."""
        self.pump()
        for descriptor in (self.reader, self.writer, self._file):
            os.close(descriptor)

    def _read(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 16)
        except BlockingIOError:
            return b""

    def _rotate(self) -> None:
        os.close(self._file)
        for number in range(_KEPT - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._file = _open_private(self._path)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _open_private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
