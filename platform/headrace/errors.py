"""The base classes of all errors: four categories, and errors that prevent a start.

Each concrete error is defined beside the code that raises it, with a stable dotted code and a hint on what to
do next. The API maps the categories to statuses in one table: invalid 422, not found 404, conflict 409,
unavailable 503. No message may contain a secret.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One error in one field.

    `pointer` is an RFC 6901 JSON pointer into the checked document (`""` is the whole document). `detail`
    never quotes the value, which may be a secret.
    """

    pointer: str
    code: str
    detail: str


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_disk_full(error: BaseException) -> bool:
    """Return whether the system had no room for what was to be written."""
    return isinstance(error, OSError) and error.errno in _FULL


def json_pointer(path: Sequence[str | int]) -> str:
    """Return the RFC 6901 pointer for a path of keys and indexes in a JSON document."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class HeadraceError(Exception):
    """Base class of all expected errors.

    `code` is stable and dotted, such as `pipeline.not_found`. `hint` says what the reader can do. `context`
    holds small facts for clients, such as `{"run_id": ...}`, and never a secret.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    hint: ClassVar[str] = ""

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), context: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.context = context or {}


class Invalid(HeadraceError):
    """The request is well-formed but wrong; the same request will fail again."""

    code = "invalid"
    title = "Invalid request"


class NotFound(HeadraceError):
    """The caller's organization has no such thing. A thing of another organization gets the same answer."""

    code = "not_found"
    title = "Not found"


class Conflict(HeadraceError):
    """The request does not fit the present state."""

    code = "conflict"
    title = "Conflict"


class Unavailable(HeadraceError):
    """Something that Headrace needs does not respond; the same request may succeed later."""

    code = "unavailable"
    title = "Temporarily unavailable"
    hint = "Try again in a few seconds."


class StartupError(HeadraceError):
    """The process cannot start with this configuration. Nothing was changed.

    The process exits with `exit_code`: 78, EX_CONFIG of BSD's sysexits.h, tells a supervisor that a restart
    cannot help.
    """

    code = "startup"
    title = "Cannot start"
    exit_code: ClassVar[int] = 78
