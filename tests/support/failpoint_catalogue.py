"""The page of the failpoints, and the calls of them in the code; run as a script it writes the page anew."""

import ast
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from headrace.failpoint_list import POINTS, Failpoint

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "failpoints.md"
_CODE = ("platform", "api", "dagster_defs")
_INTRODUCTION = """# Failpoints

A failpoint is a named place in the code where a test makes a process fail. There is one at each change of
state. This page is made from `headrace.failpoint_list`. Tests hold it
against the calls, and `make faults` plays each fault at each point.

Faults are injected only with `HEADRACE_FAILPOINTS`, which names a folder. No process starts with it unless
`HEADRACE_ALLOW_FAILPOINTS` is set, too, and `headrace doctor` reports it. A file `<point>.<subject>` in the
folder says what the first process that gets there meets, one time:

| File's content | What happens |
|---|---|
| `kill` | The process gets SIGKILL. |
| `raise` | An unexpected error is raised. |
| `hang`, `hang 40` | The thread stops for ever, or for 40 seconds. |
| `full` | The disk is full. |
| `lose` | What came before is done, and its answer is lost. |
| `pause 20` | The process is stopped, and wakes up after 20 seconds. |

The process renames the file to `taken.<point>.<subject>` and writes its process id into it.
"""


def page() -> str:
    """Return what docs/failpoints.md must hold."""
    parts = groupby(POINTS.items(), key=lambda entry: entry[1].part)
    tables = {part: "".join(_row(name, point) for name, point in rows) for part, rows in parts}
    head = "| Point | Subject | What has happened | Who repairs a kill | Within |\n|---|---|---|---|---|\n"
    return _INTRODUCTION + "".join(
        f"\n## {part[0].upper()}{part[1:]}\n\n{head}{rows}" for part, rows in tables.items()
    )


def calls() -> Counter[str]:
    """Return how often the code reaches each point."""
    return Counter(name for top in _CODE for file in (ROOT / top).rglob("*.py") for name in _reached(file))


def _row(name: str, point: Failpoint) -> str:
    return f"| `{name}` | {point.subject} | {point.after} | {point.repair} | {point.seconds:g} s |\n"


def _reached(file: Path) -> Iterator[str]:
    text = file.read_text()
    if "import reach\n" not in text or file.name == "failpoints.py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
            yield from (
                part.value
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


if __name__ == "__main__":
    PAGE.write_text(page())
