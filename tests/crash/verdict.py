"""Judges a history once its faults are over: what ended, what is where, what was left behind."""

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from home import PATIENCE, Away, Home
from later import Later
from line import Line, Outcome
from tables import Row
from targets import Unreadable
from watch import TERMINAL, within
from world import World

if TYPE_CHECKING:
    from player import Player

READY_WITHIN = 60.0  # on a machine that plays two histories at once; `figures` measures the promised 15 s
ENDED_WITHIN = 150.0  # docs/run-lifecycle.md: the longest of "A run here and in Dagster"
FINAL_WITHIN = 90.0
AGREED_WITHIN = 180.0
PURGED_WITHIN = 120.0
GONE_WITHIN = 30.0
SWEPT_WITHIN = 30.0  # docs/temporary.md: 15 s
_FAULTY = (
    "connector.crashed",
    "run.sums_disagree",
    "run.crashed",
)  # codes that no fault of the world may have
_AGREEING = {"success": {"SUCCESS"}, "failed": {"FAILURE", "CANCELED"}, "cancelled": {"CANCELED", "FAILURE"}}
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def judge(player: "Player") -> Outcome:
    """Heal the world, wait, and judge."""
    outcome = Outcome(history=player.history, problems=player.problems, events=player.events, seconds=0)
    player.say("healing")
    player.world.heal()
    outcome.ready_seconds = _ready(player)
    began = time.monotonic()
    runs = _ended(player)
    outcome.ended_seconds = time.monotonic() - began
    for line in player.lines:
        _account(player, line, runs.get(line.id, []), outcome.runs)
    for line in player.lines:
        if not line.is_deleted:
            _final(player, line)
    _left_behind(player)
    for line in player.lines:
        line.source.close()
        if not line.is_deleted:
            _agree_later(player.world, line)
    return outcome


def _ready(player: "Player") -> float:
    home = player.home
    assert home.process is not None
    if home.process.poll() is not None:
        player.problems.append(f"`up` ended by itself with {home.process.returncode}\n{home.log_ends()}")
        home.start()
    try:
        return home.wait_ready(READY_WITHIN)
    except TimeoutError as error:
        player.problems.append(f"after the last fault: {error}")
        return READY_WITHIN


def _ended(player: "Player") -> dict[str, list[dict[str, Any]]]:
    """Wait until every run has ended; return the runs by pipeline."""
    found: dict[str, list[dict[str, Any]]] = {}

    def look() -> bool:
        for line in player.lines:
            with suppress(Away):
                answer = player.home.ask("GET", f"/api/pipelines/{line.id}/runs?limit=100")
                if answer.status == 200:
                    found[line.id] = answer.body
                elif answer.status != 404 or not line.is_deleted:
                    return False
        return all(run["status"] in TERMINAL for runs in found.values() for run in runs)

    if not within(ENDED_WITHIN, look, 0.25):
        going = [run for runs in found.values() for run in runs if run["status"] not in TERMINAL]
        player.problems.append(f"not ended within {ENDED_WITHIN} s after the last fault: {going}")
        for run in going:
            player.problems.append(f"  in Dagster: {player.home.dagster_runs(run['id'])}")
    return found


def _account(player: "Player", line: Line, runs: list[dict[str, Any]], counts: Counter[str]) -> None:
    """Compare the runs with what was answered."""
    if line.is_deleted:
        return
    by_id = {run["id"]: run for run in runs}
    for run_id in line.accepted.keys() - by_id.keys():
        player.problems.append(f"run {run_id} was accepted and is not there")
    if line.is_complete and (untold := by_id.keys() - line.accepted.keys()):
        player.problems.append(f"{line.name}: runs that no answer told of: {sorted(untold)}")
    for run_id in line.cancelled:
        if by_id.get(run_id, {}).get("status") != "cancelled":
            player.problems.append(
                f"run {run_id}: its cancel was answered with 200, and it is {by_id.get(run_id)}"
            )
    raised = any(step.get("action") == "raise" for step in player.history.steps)
    for run in runs:
        code = _code(player.home, run)
        counts[f"{run['status']} {code}".strip()] += 1
        if code:
            player.say(f"  {line.name} run {run['id']} failed: {code}: {run['error']}")
        if code in _FAULTY and not raised:
            player.problems.append(
                f"{line.name} {line.spec}: run {run['id']} ended as {code}: {run['error']}"
            )
        is_lost = run["status"] == "failed" or (
            run["status"] == "cancelled" and run["id"] not in line.cancelled
        )
        if player.history.is_harmless and is_lost:
            player.problems.append(
                f"{line.name}: a healthy run was lost: {run['status']} {code} {run['error']}"
            )
    loaded = [
        line.accepted[one["id"]] for one in runs if one["status"] == "success" and one["id"] in line.accepted
    ]
    if loaded and (_read(line) or True) and line.watch.place < max(loaded):
        player.problems.append(
            f"{line.name}: a run of state {max(loaded)} succeeded, the destination is at {line.watch.place}"
        )


def _final(player: "Player", line: Line) -> None:
    """Run once more without a fault: the destination must equal the source."""
    try:
        answer = player.home.ask("POST", f"/api/pipelines/{line.id}/run")
    except Away as error:
        player.problems.append(f"{line.name}: the final run was not answered: {error}")
        return
    if answer.status != 201:
        player.problems.append(f"{line.name}: the final run was refused: {answer.status} {answer.body}")
        return
    run_id = answer.body["id"]
    run: dict[str, Any] = {}

    def look() -> bool:
        with suppress(Away):
            run.update(player.home.ask("GET", f"/api/pipelines/runs/{run_id}").body)
        return run.get("status") in TERMINAL

    within(FINAL_WITHIN, look)
    if run.get("status") != "success":
        told = {key: run.get(key) for key in ("status", "error_code", "error", "phase", "attempt")}
        player.problems.append(f"{line.name} {line.spec}: the final run {run_id} is {told}")
        return
    rows = _read(line)
    if rows is None:
        player.problems.append(f"{line.name}: the destination cannot be read after all runs")
    elif line.watch.place != line.truth.batch:
        player.problems.append(
            f"{line.name} {line.spec}: after the final run the destination is at state {line.watch.place} of"
            f" {line.truth.batch}: {len(rows)} rows for {len(line.truth.rows)}"
        )
    if line.spec["mode"] != "replace":
        line.cursor_watch.check()


def _read(line: Line) -> list[Row] | None:
    """Read the destination and judge it; None: it cannot be read."""

    def look() -> list[list[Row]]:
        try:
            return [line.watch.check()]
        except Unreadable:
            return []

    found: list[list[Row]] = within(10, look)
    return found[0] if found else None


def _left_behind(player: "Player") -> None:
    wrong = within(GONE_WITHIN, lambda: _processes(player.home) == "", 0.5)
    if not wrong:
        player.problems.append(f"{GONE_WITHIN} s after all runs: processes {_processes(player.home)}")
    for line in player.lines:
        if not line.is_deleted:
            strays = within(5, lambda line=line: [] if line.destination.strays() else ["none"])
            if not strays:
                player.problems.append(
                    f"{line.name} {line.spec}: left behind: {line.destination.strays()[:5]}"
                )
    for file in player.home.temporary.iterdir():
        if file.name.startswith("headrace"):
            player.problems.append(f"left behind in TMPDIR: {file.name}")
    within(SWEPT_WITHIN, lambda: not _unswept(player.home))
    player.problems.extend(f"left behind: {name}" for name in _unswept(player.home))


def _unswept(home: Home) -> list[str]:
    outputs = home.home / "outputs"
    return [str(file) for file in outputs.glob("*/*") if file.name != "output.parquet"]


def _processes(home: Home) -> str:
    counts = Counter(home.parts().values())
    wanted = {"up": 1, "api": 1, "daemon": 1, "webserver": 1, "code": 1}
    wrong = {part: counts[part] for part, count in wanted.items() if counts[part] != count}
    wrong |= {part: counts[part] for part in ("worker", "other") if counts[part]}
    wrong |= {"fork": counts["fork"]} if counts["fork"] > 1 else {}
    return str(wrong) if wrong else ""


def _agree_later(world: World, line: Line) -> None:
    """Have Dagster compared with the records, then the pipeline deleted, then its traces looked for."""
    home = world.home
    listed = home.ask("GET", f"/api/pipelines/{line.id}/runs?limit=100").body
    run_ids = [run["id"] for run in listed]

    def agree() -> str:
        return "; ".join(filter(None, (_disagreement(home, run_id) for run_id in run_ids)))

    def delete() -> None:
        with suppress(Away):
            home.ask("DELETE", f"/api/pipelines/{line.id}")
        what = f"{line.name} was deleted, {PURGED_WITHIN} s ago"
        deadline = time.monotonic() + PURGED_WITHIN * PATIENCE
        world.later.append(Later(what=what, look=lambda: _traces(home, run_ids), deadline=deadline))

    world.later.append(
        Later(what=f"{line.name}: {AGREED_WITHIN} s after its last run", look=agree, then=delete,
              deadline=time.monotonic() + AGREED_WITHIN * PATIENCE)
    )  # fmt: skip


def _disagreement(home: Home, run_id: str) -> str:
    """Return how a run differs here and in Dagster; empty: they agree."""
    try:
        run = home.ask("GET", f"/api/pipelines/runs/{run_id}").body
    except Away:
        return "no answer"
    found = home.dagster_runs(run_id)
    if found is None:
        return "Dagster does not answer"
    statuses = {one["runId"]: one["status"] for one in found}
    going = {run_id: status for run_id, status in statuses.items() if status not in _ENDED}
    if going:
        return f"run {run_id} is {run['status']}, and in Dagster {going}"
    status = statuses.get(run.get("dagster_run_id") or "")
    if status is not None and status not in _AGREEING[run["status"]]:
        return f"run {run_id} is {run['status']} {run.get('error_code')}, and in Dagster {status}"
    return ""


def _traces(home: Home, run_ids: list[str]) -> str:
    left = [run_id for run_id in run_ids if Path(home.home / "outputs" / run_id).exists()]
    in_dagster = [run_id for run_id in run_ids if home.dagster_runs(run_id) != []]
    return f"outputs {left}, Dagster's runs of {in_dagster}" if left or in_dagster else ""


def _code(home: Home, run: dict[str, Any]) -> str:
    if run["status"] != "failed":
        return ""
    with suppress(Away):
        return str(home.ask("GET", f"/api/pipelines/runs/{run['id']}").body.get("error_code"))
    return ""
