"""The suite as a whole: run it on a case, in a test or for a report."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headrace.conformance.cases import Broken, Case, Check, NotApplicable, SourceCase
from headrace.conformance.destinations import DESTINATION_CHECKS
from headrace.conformance.sources import SOURCE_CHECKS
from headrace.connectors.contract.secrets import secrets_within
from headrace.errors import HeadraceError
from headrace.masking import MaskingFilter

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str  # the check's name as words
    outcome: Outcome
    detail: str  # why it failed or was skipped; holds no secret


def checks_of(case: Case) -> Sequence[Check[Any]]:
    """Return the checks that hold for a case's kind of connector."""
    return SOURCE_CHECKS if isinstance(case, SourceCase) else DESTINATION_CHECKS


def examine(case: Case) -> Iterator[Finding]:
    """Run every check, each with an empty folder of its own; one that fails keeps none from running."""
    for check in checks_of(case):
        with tempfile.TemporaryDirectory(prefix="headrace-conformance-") as folder:
            yield _found(case, check, Path(folder))


def assert_conforms(case: Case) -> None:
    """Raise Broken with everything that is wrong with a connector: for one's own tests."""
    failed = [f"- {found.check}: {found.detail}" for found in examine(case) if found.outcome == "failed"]
    if failed:
        raise Broken("\n".join([f"{type(case.connector).__name__} does not conform:", *failed]))


def title_of(check: Check[Any]) -> str:
    """Return a check's name as words."""
    return check.__name__.replace("_", " ")


def _found(case: Case, check: Check[Any], folder: Path) -> Finding:
    outcome: Outcome = "failed"
    try:
        check(case, folder)
        outcome, detail = "passed", ""
    except NotApplicable as reason:
        outcome, detail = "skipped", str(reason)
    except (Broken, HeadraceError) as error:
        detail = str(error)
    except Exception as error:
        # It is the author who reads this: the text helps more than it may show, once it is masked.
        detail = f"{type(error).__name__}: {error}"
    return Finding(
        check=title_of(check),
        outcome=outcome,
        detail=MaskingFilter(secrets_within(case.connector)).mask(detail),
    )
