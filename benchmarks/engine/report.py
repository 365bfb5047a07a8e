"""The medians of the measurements, as text that is also Markdown."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.engine.lines import MOST_MEGABYTES, ONE_ROW_SECONDS, Line
from benchmarks.engine.measure import Measured

Runs = Mapping[str, Sequence[Measured]]  # of each contender


def seconds_of(contender: str, run: Measured) -> float:
    """What counts as a run's wall seconds: of the limit only the parts, not Python's start."""
    return float(run.said["seconds"]) if contender == "limit" else run.wall


def cpu_of(contender: str, run: Measured) -> float:
    """CPU seconds of client and server together."""
    return float(run.said["cpu"] if contender == "limit" else run.cpu) + run.server_cpu


def table(line: Line, runs: Runs, excuses: Mapping[str, str]) -> list[str]:
    """Return the lines of one table: medians, and times the limit's."""
    limit = _medians("limit", runs["limit"]) if runs.get("limit") else None
    text = [
        f"**{line.name}**",
        "",
        "| | wall s | x limit | CPU s | x limit | client CPU s | peak MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, measured in runs.items():
        if not measured:
            continue
        wall, cpu, own, megabytes = _medians(name, measured)
        shown = "" if name == "limit" else f"{megabytes:.0f}"
        factors = (f"{wall / limit[0]:.2f}", f"{cpu / limit[1]:.2f}") if limit else ("", "")
        text.append(
            f"| {name} | {wall:.2f} | {factors[0]} | {cpu:.2f} | {factors[1]} | {own:.2f} | {shown} |"
        )
    text += [""] + [f"- {name}: {why}" for name, why in excuses.items()]
    return text + [f"- {said}" for said in verdicts(line, runs)] + [""]


def verdicts(line: Line, runs: Runs) -> list[str]:
    """Return a sentence for each goal of the line."""
    ours = runs.get("headrace") or ()
    if not ours:
        return []
    wall, cpu, _, megabytes = _medians("headrace", ours)
    said = [f"memory: {megabytes:.0f} MB of at most {MOST_MEGABYTES} ({_met(megabytes <= MOST_MEGABYTES)})"]
    if line.goal is not None and runs.get("limit"):
        limit = _medians("limit", runs["limit"])
        reached = _met(wall <= line.goal * limit[0])
        parts = dict(runs["limit"][-1].said["parts"])
        said.append(f"limit: {wall / limit[0]:.2f} times of at most {line.goal} ({reached}), by wall time")
        said.append(f"limit: {cpu / limit[1]:.2f} times by CPU time; its parts in the last run: {parts}")
    if line.one_row:
        own = statistics.median(float(run.said["seconds"]) for run in ours)
        said.append(f"engine: {own:.2f} s of at most {ONE_ROW_SECONDS} ({_met(own <= ONE_ROW_SECONDS)})")
        rest = statistics.median(float(run.said["seconds"] - run.said["imports"]) for run in ours)
        said.append(f"engine: {rest:.2f} s without imports, which a worker of the platform inherits")
    for name, measured in runs.items():
        if name not in ("limit", "headrace") and measured:
            theirs = _medians(name, measured)
            said.append(f"{name}: {theirs[0] / wall:.1f} times our wall time, {theirs[1] / cpu:.1f} our CPU")
    return said


def _medians(name: str, runs: Sequence[Measured]) -> tuple[float, float, float, float]:
    return (
        statistics.median(seconds_of(name, run) for run in runs),
        statistics.median(cpu_of(name, run) for run in runs),
        statistics.median(float(run.said["cpu"]) if name == "limit" else run.cpu for run in runs),
        statistics.median(run.megabytes for run in runs),
    )


def _met(met: bool) -> str:
    return "reached" if met else "NOT reached"
