"""Files that only their owner may read: keys and secrets.

Checks use the open file descriptor, so the checked file is the one that is read. Writes are atomic: after a
crash, the file is either complete or missing.
"""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from headrace import scratch
from headrace.errors import StartupError

_LARGEST = 1 << 20


class NotPrivate(StartupError):
    """A file or folder with secrets belongs to another user, or other users may read it."""

    code = "file.not_private"
    title = "Secret file readable by others"
    hint = "Make yourself the owner, and set `chmod 600` for a file or `chmod 700` for a folder. Use no link."


def read_private(path: Path, *, group_may_read: bool = False) -> bytes:
    """Return the content of a regular file that belongs to this user or root and that nobody else may open.

    `group_may_read` is for systemd's credentials, where the ACL of the service's user appears as group bits.
    Raises NotPrivate and OSError, which includes FileNotFoundError.
    """
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivate(f"{path} is not a regular file.")
        _check_access(path, status, forbidden=0o037 if group_may_read else 0o077)
        if status.st_size > _LARGEST:
            raise NotPrivate(f"{path} is larger than {_LARGEST} bytes, the limit for a secret.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def check_private_folder(path: Path) -> None:
    """Raise NotPrivate unless `path` is a folder, no link, that only this user or root may enter."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivate(f"{path} is not a folder.")
    _check_access(path, status, forbidden=0o077)


def make_private_folder(path: Path) -> None:
    """Create the folder with mode 0700 unless it exists. Raises NotPrivate if other users may enter it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    check_private_folder(path)


def create_private(path: Path, content: bytes) -> bool:
    """Create the file atomically with mode 0600; return False and change nothing if it exists.

    If several processes try at once, exactly one creates it.
    """
    temporary = _write_temporary(path, content)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(path.parent)
    return True


def replace_private(path: Path, content: bytes) -> None:
    """Write the file atomically with mode 0600, whether or not it exists."""
    temporary = _write_temporary(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _open(path: Path) -> int:
    # Non-blocking, because opening a named pipe would otherwise wait for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPrivate(f"{path} is a symbolic link.") from None
        raise


def _check_access(path: Path, status: os.stat_result, *, forbidden: int) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise NotPrivate(f"{path} belongs to user {status.st_uid}, who is neither this user nor root.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise NotPrivate(f"{path} has mode {mode:04o}, so other users may open it.")


def _write_temporary(path: Path, content: bytes) -> Path:
    scratch.sweep_abandoned(path.parent, f".{path.name}.*")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
