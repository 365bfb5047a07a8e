"""The error tree: four categories, each with a stable dotted code and a hint that says what to do next.

Concrete errors live beside the code that raises them. The API maps the category to a status in one table:
invalid 422, not found 404, conflict 409, unavailable 503. No message may hold a secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One fault of one field.

    `pointer` is an RFC 6901 JSON pointer into the document that was checked (`""` is the whole of it);
    `detail` never quotes the value, which may be a secret.
    """

    pointer: str
    code: str
    detail: str


def json_pointer(path: Sequence[str | int]) -> str:
    """Return the RFC 6901 pointer to a place in a JSON document, given its keys and indexes."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class HeadraceError(Exception):
    """Base of every error that Headrace foresees.

    `code` is stable and dotted (`pipeline.not_found`); `hint` says what the reader can do;
    `context` holds small, non-secret facts that a client may act on (`{"run_id": ...}`).
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
    """What was asked is well-formed and wrong; asking again unchanged fails again."""

    code = "invalid"
    title = "Invalid request"


class NotFound(HeadraceError):
    """There is no such thing in the caller's organization (another organization's answers the same)."""

    code = "not_found"
    title = "Not found"


class Conflict(HeadraceError):
    """The thing's present state forbids what was asked."""

    code = "conflict"
    title = "Conflict"


class Unavailable(HeadraceError):
    """Something that Headrace needs does not answer now; asking again later may succeed."""

    code = "unavailable"
    title = "Temporarily unavailable"
    hint = "Try again in a few seconds."


class StartupError(HeadraceError):
    """The process must not start with this configuration; nothing was changed.

    `exit_code` is what the process exits with: 78, EX_CONFIG of BSD's sysexits.h, which tells a supervisor
    that starting again cannot help.
    """

    code = "startup"
    title = "Cannot start"
    exit_code: ClassVar[int] = 78
