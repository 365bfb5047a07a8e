"""Every error of the platform, and the page that lists them; run as a script it writes the page anew."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import HeadraceError, StartupError
from headrace_api.http.problems import status_of

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
PACKAGES = ("headrace", "headrace_api", "headrace_dagster")
_INTRODUCTION = (
    "Each error has a stable code: the `code` of a problem document, the `error_code` of a failed run, and "
    "what the command line prints. Programs may test it; titles and hints may change. The second column says "
    "who answers with it: the REST service with that HTTP status, the command line, a process that refuses "
    "to start with that exit code, or a run that failed."
)
# Codes that no exception carries: what the platform writes into a run, or says of one field.
_RUN_CODES = {
    "run.worker_lost": "The run's worker went silent or died: its lease ran out, or Dagster saw it end.",
    "run.not_started": "Dagster could not start the run's process.",
    "run.deleted_in_dagster": "The run was deleted in Dagster before it began.",
    "run.interrupted": "The run's process was told to end before the run did.",
    "run.internal_error": "Headrace itself failed; the run's log says where.",
}
_FIELD_CODES = {
    "field.null": "A field that cannot be null is.",
    "field.missing": "A field that is needed is absent.",
    "field.unknown": "There is no such field.",
    "field.control_character": "A text holds a control character.",
    "query.repeated": "A query parameter came more than once.",
    "config.nothing_stored": "A masked secret was sent where none is stored.",
    "config.address_changed": "A masked secret was sent while the place that it goes to changes.",
    "config.reference_not_resolved": "A reference stands where only a run would resolve it.",
}


def error_classes() -> list[type[HeadraceError]]:
    """Return the error classes of all three packages by code, without those that only have subclasses."""
    for package in PACKAGES:
        _import_all(package)
    found = set(_descendants(HeadraceError)) | {HeadraceError}
    ours = (error for error in found if error.__module__.partition(".")[0] in PACKAGES)
    return sorted((error for error in ours if not _only_groups(error)), key=lambda error: error.code)


def page() -> str:
    """Return what docs/errors.md must hold."""
    errors = "".join(map(_row, error_classes()))
    return (
        f"# Errors\n\n{_INTRODUCTION}\n\n"
        f"| Code | Answer | What it means | What to do |\n|---|---|---|---|\n{errors}\n"
        f"## Ends of a run that no error explains\n\n{_table(_RUN_CODES)}\n"
        "## Faults of a field\n\nOf `errors` in a problem document. A fault of the validation's own has its "
        f"name after `field.`, such as `field.string_too_long`.\n\n{_table(_FIELD_CODES)}\n"
        "## HTTP's own errors\n\nWhat no handler answers has a code made of the status's phrase, such as "
        "`http.not_found` or `http.method_not_allowed`.\n"
    )


def _import_all(package: str) -> None:
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        # Both run something when imported.
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
