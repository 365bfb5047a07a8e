"""Every error of the platform, and the page that lists them. Run as a script, it writes docs/errors.md."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import HeadraceError, StartupError
from headrace_api.http.problems import status_of

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
PACKAGES = ("headrace", "headrace_api", "headrace_dagster")
_INTRODUCTION = (
    "Each error has a stable code. It is the `code` of a problem document and the `error_code` of a failed "
    "run, and the command line prints it. Programs may rely on codes. Titles and hints may change. The "
    "second column says where the error appears: an HTTP status of the REST service, the command line, "
    "the exit code of a process that does not start, or a failed run."
)
# Codes without an exception class: the platform stores them with a run, or reports them for a field.
_RUN_CODES = {
    "run.worker_lost": "The run's worker died: its lease expired, or Dagster reported its end.",
    "run.not_started": "Dagster could not start the run's process.",
    "run.deleted_in_dagster": "Somebody deleted the run in Dagster before it began.",
    "run.interrupted": "The run's process received a signal to stop while the run was in progress.",
    "run.internal_error": "Headrace has a bug. The run's log shows where it failed.",
}
_FIELD_CODES = {
    "field.null": "The field is null, and its type does not allow null.",
    "field.missing": "A required field is missing.",
    "field.unknown": "The field does not exist.",
    "field.control_character": "The text contains a control character.",
    "query.repeated": "The query parameter is repeated.",
    "config.nothing_stored": "The value is a mask, but no secret is stored for the field.",
    "config.address_changed": "The value is a mask, but this request changes where the secret is sent to.",
    "config.reference_not_resolved": "The value is a reference, and references are resolved only in runs.",
}


def error_classes() -> list[type[HeadraceError]]:
    """Return the error classes of all three packages, sorted by code, without mere base classes."""
    for package in PACKAGES:
        _import_all(package)
    found = set(_descendants(HeadraceError)) | {HeadraceError}
    ours = (error for error in found if error.__module__.partition(".")[0] in PACKAGES)
    return sorted((error for error in ours if not _only_groups(error)), key=lambda error: error.code)


def page() -> str:
    """Return the text of docs/errors.md."""
    errors = "".join(map(_row, error_classes()))
    return (
        f"# Errors\n\n{_INTRODUCTION}\n\n"
        f"| Code | Answer | What it means | What to do |\n|---|---|---|---|\n{errors}\n"
        f"## Codes of failed runs without an error class\n\n{_table(_RUN_CODES)}\n"
        "## Codes of a field\n\nThey are in the `errors` of a problem document. Other codes are `field.` and "
        f"the name of Pydantic's error type, such as `field.string_too_long`.\n\n{_table(_FIELD_CODES)}\n"
        "## HTTP errors\n\nIf no endpoint handles a request, the code is `http.` and the phrase of the "
        "status, such as `http.not_found` or `http.method_not_allowed`.\n"
    )


def _import_all(package: str) -> None:
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        # Importing a migration or a `__main__` runs it.
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _descendants(error: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
    for child in error.__subclasses__():
        yield child
        yield from _descendants(child)


def _only_groups(error: type[HeadraceError]) -> bool:
    return "code" not in vars(error) and bool(error.__subclasses__())


def _row(error: type[HeadraceError]) -> str:
    meaning = " ".join((error.__doc__ or "").partition("\n\n")[0].split())
    cells = (_anchored(error.code), _answer(error), f"{error.title}. {meaning}", error.hint)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _answer(error: type[HeadraceError]) -> str:
    if issubclass(error, StartupError):
        return f"exit {error.exit_code}"
    if error.__module__.startswith("headrace.cli."):
        return "command line"
    status = status_of(error)
    in_a_run = (
        error.__module__.startswith(("headrace.connectors.", "headrace.engine.", "headrace.pipeline."))
        and status == 500
    )
    return "failed run" if in_a_run else str(status)


def _table(codes: dict[str, str]) -> str:
    rows = (f"| {_anchored(code)} | {meaning} |\n" for code, meaning in codes.items())
    return "| Code | What it means |\n|---|---|\n" + "".join(rows)


def _anchored(code: str) -> str:
    return f'<a id="{code}"></a>`{code}`'


if __name__ == "__main__":
    PAGE.write_text(page())
