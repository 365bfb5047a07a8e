"""Every fault and what becomes of it; run as a script it writes docs/connector-faults.md anew.

    .venv/bin/python tests/support/net_faults/page.py [WORDS]

With words, only the cells whose connector or fault contains one of them are tried; the other lines stay.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

SUPPORT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(SUPPORT))

from mariadb_server import run_mariadb
from net_faults.cases import CASES, Case, Servers
from net_faults.faults import Cause, cells, is_reference
from net_faults.outcomes import Outcome, Seen, seen
from postgres_server import run_postgres
from s3_server import run_s3

PAGE = Path(__file__).parents[3] / "docs" / "connector-faults.md"
_INTRODUCTION = """# What becomes of a run when the network fails

Each connector that has a network meets each fault of this page, between it and a real server, or a local one
that speaks the API. Every run ends within [its bounds](connectors/limits.md), nothing is published in part,
and the next run is exact. A reader that shares no code with the connector looks at the destination.

*Tried again* means that the fault may pass: the run is repeated up to `max_attempts` of the pipeline's
policy. *As before* means that the destination holds what it held before the run.

`tests/support/net_faults/page.py` writes this page anew; `tests/integration/network_faults` holds it to what
happens: a few rows with each change, and all of them with `HEADRACE_TEST_FAULTS=all`.
"""
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def page(lines: dict[tuple[str, str], str]) -> str:
    """Return the page of some lines, by connector and fault."""
    parts = [_INTRODUCTION]
    for case in CASES:
        rows = [lines.get((title(case), cause.name), "") for _, cause in cells((case,))]
        parts.append(
            f"\n## {title(case)}\n\n| Fault | The run | The destination |\n|---|---|---|\n{''.join(rows)}"
        )
    return "".join(parts)


def title(case: type[Case]) -> str:
    """Return the heading of a connector's table."""
    return f"The {case.name}" if not is_reference(case) else f"The keeper of {case.name}"


def row(cause: Cause, cell: Seen) -> str:
    """Return one line of a table."""
    return f"| {cause.name} | {cell.outcome} | {cell.destination} |\n"


@cache
def written() -> dict[tuple[str, str], str]:
    """Return the lines of the page, by connector and fault."""
    found = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        for line in list(_ROW.finditer(part))[1:]:  # after the heads of the columns
            found[heading, line[1]] = line[0] + "\n"
    return found


@contextmanager
def real_servers() -> Iterator[Servers]:
    """Start each server when it is first needed."""
    with ExitStack() as stack:
        yield Servers(
            postgres=cache(lambda: stack.enter_context(run_postgres())),
            mariadb=cache(lambda: stack.enter_context(run_mariadb())),
            s3=cache(lambda: stack.enter_context(run_s3())),
        )


def _is_meant(case: type[Case], cause: Cause, words: list[str]) -> bool:
    return any(word in f"{case.name}: {cause.name}" for word in words)


def _main(words: list[str]) -> int:
    chosen = [cell for cell in cells(CASES) if not words or _is_meant(*cell, words)]
    lines = written() if PAGE.exists() and words else {}
    wrong = 0
    with real_servers() as servers, tempfile.TemporaryDirectory() as folder:
        for number, (case, cause) in enumerate(chosen):
            try:
                cell = seen(case, cause, servers, Path(folder) / str(number))
            except Exception as error:
                cell = Seen(outcome=Outcome(code="not seen"), destination="", faults=(repr(error),))
            if not cell.faults:
                lines[title(case), cause.name] = row(cause, cell)
            wrong += bool(cell.faults)
            line = row(cause, cell).strip().strip("| ")
            told = f"{case.name} | {line} | {cell.outcome.seconds:.1f} s"
            print("WRONG" if cell.faults else "ok   ", told, *cell.faults, sep=" | ", flush=True)
    print(f"{len(chosen)} cells, {wrong} wrong")
    PAGE.write_text(page(lines))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
