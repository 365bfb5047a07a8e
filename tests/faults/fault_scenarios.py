"""How each point is reached, and what must hold after the fault there."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from fault_lines import Line, Reader
from fault_world import AGREES_SECONDS, ENDS_SECONDS, World, same
from live_platform import eventually

_KEY_SECONDS = 100.0
"""A key whose request died is free after a minute."""
_GONE_SECONDS = 180.0
_SLOW = {"name": "dummy", "stream": "creatures", "records": 100_000, "sleep": 0.2}
Scenario = Callable[[World, str, str], None]


def play_load(line: Line, point: str, fault: str, subject: str, also: dict[str, str] | None = None) -> None:
    """Load with the fault on the way, then without: the destination must equal the source."""
    world = line.world
    before = len(line.rows) if line.found() is not None else 0
    line.add(5)
    for other, its_fault in (also or {}).items():
        world.arm(other, line.pipeline_id, its_fault)
    world.arm(point, subject, fault)
    with Reader(line) as reader:
        run = world.end_of(world.trigger(line.pipeline_id))
        world.require_taken(point, subject)
        _wait_for_who_sleeps({**(also or {}), point: fault})
    assert not reader.failures, f"a reader failed: {reader.failures}"
    assert reader.seen <= {before, len(line.rows)}, f"a reader has seen {reader.seen}, not {before} or all"
    if run["status"] == "success":
        assert not line.difference(), f"after a success: {line.difference()}"
    line.add(2)
    again = world.end_of(world.trigger(line.pipeline_id))
    assert again["status"] == "success", f"the next run: {again['error_code']}: {again['error']}"
    assert not line.difference(), f"after the next run: {line.difference()}"
    assert not line.leftovers(), f"left behind: {line.leftovers()}"


def _wait_for_who_sleeps(faults: dict[str, str]) -> None:
    """Let a worker that was stopped wake up and find its run lost, so that the next one does not meet it."""
    sleeps = [float(fault.removeprefix("pause ")) for fault in faults.values() if fault.startswith("pause ")]
    time.sleep(max(sleeps, default=0.3))


def fresh(world: World, target: str = "sqlite", mode: str = "append", **more: Any) -> Line:
    """Make a line with rows that are not loaded yet."""
    line = Line(world=world, target_name=target, mode=mode)
    line.add(3)
    return line.create(**more)


def run_it(world: World, point: str, fault: str, also: dict[str, str] | None = None) -> None:
    """A run is triggered, launched and executed."""
    line = fresh(world)
    play_load(line, point, fault, line.pipeline_id, also)
    line.close()


def launch_it(world: World, point: str, fault: str) -> None:
    """The same where the point belongs to no pipeline."""
    line = fresh(world)
    play_load(line, point, fault, "platform")
    line.close()


def postpone_it(world: World, point: str, fault: str) -> None:
    """A launch fails."""
    run_it(world, point, fault, {"launching": "lose"})


def relaunch_it(world: World, point: str, fault: str) -> None:
    """A worker dies before its claim."""
    run_it(world, point, fault, {"claiming": "kill"})


def lose_it(world: World, point: str, fault: str) -> None:
    """A worker dies while it reads."""
    run_it(world, point, fault, {"extracting": "kill"})


def reap_it(world: World, point: str, fault: str) -> None:
    """A worker is stopped for longer than its lease."""
    run_it(world, point, fault, {"extracting": "pause 40"})


def fail_it(world: World, point: str, fault: str) -> None:
    """A run fails by itself."""
    run_it(world, point, fault, {"extracting": "raise"})


def repeat_it(world: World, point: str, fault: str) -> None:
    """A request with an Idempotency-Key is sent until it is answered, and once more."""
    line, key = fresh(world), str(uuid4())
    path = f"/pipelines/{line.pipeline_id}/run"
    world.arm(point, key, fault)

    def answered() -> Any:
        answer = world.ask("POST", path, **{"Idempotency-Key": key})
        if answer is None or answer.status_code >= 500:
            return None
        if answer.status_code == 409 and answer.json()["code"] == "idempotency.in_progress":
            return None
        return answer

    first = eventually(answered, seconds=_KEY_SECONDS, what="An answer to the key", pause=0.5)
    world.require_taken(point, key)
    assert first.status_code == 201, first.text
    again = world.insist("POST", path, **{"Idempotency-Key": key})
    assert same(first, again), f"the key answers {first.text}, then {again.text}"
    assert len(world.runs_of(line.pipeline_id)) == 1, "one key has stored more than one run"
    assert world.end_of(first.json()["id"])["status"] == "success"
    assert not line.difference(), line.difference()
    line.close()


def cancel_it(world: World, point: str, fault: str) -> None:
    """A run is cancelled while its worker reads."""
    name = f"Cancelled at {point}"
    config = {"name": name, "source": _SLOW, "destination": {"name": "logger"}}
    pipeline = world.insist("POST", "/pipelines", {"name": name, "config": config}).json()["id"]
    run_id = world.trigger(pipeline)
    world.status_of(run_id, "running")
    if point == "stop_telling":  # the worker finds out by itself, before Dagster is asked to stop it
        world.arm("stopping", pipeline, "hang 20")
    world.arm(point, pipeline, fault)

    def cancelled() -> bool:
        world.ask("POST", f"/pipelines/runs/{run_id}/cancel")
        return bool(world.run_view(run_id)["status"] == "cancelled")

    eventually(cancelled, seconds=60, what="The cancel", pause=0.5)
    world.ended[run_id] = "cancelled"
    world.require_taken(point, pipeline, seconds=AGREES_SECONDS)

    def stopped() -> bool:
        statuses = {run["status"] for run in world.launches_of(run_id)}
        return statuses <= {"SUCCESS", "FAILURE", "CANCELED"}

    eventually(stopped, seconds=AGREES_SECONDS, what="The end in Dagster", pause=1)
    assert world.run_view(run_id)["status"] == "cancelled"


def change_it(world: World, point: str, fault: str) -> None:
    """A pipeline is renamed."""
    line = fresh(world)
    world.arm(point, line.pipeline_id, fault)

    def renamed() -> bool:
        answer = world.ask("PUT", f"/pipelines/{line.pipeline_id}", {"name": "Renamed"})
        return answer is not None and answer.status_code == 200

    eventually(renamed, seconds=60, what="The change", pause=0.5)
    world.require_taken(point, line.pipeline_id)
    assert world.insist("GET", f"/pipelines/{line.pipeline_id}").json()["name"] == "Renamed"
    assert world.end_of(world.trigger(line.pipeline_id))["status"] == "success"
    line.close()


def reload_it(world: World, point: str, fault: str) -> None:
    """Dagster has to read a new pipeline."""
    world.arm(point, "platform", fault)
    line = fresh(world)
    world.require_taken(point, seconds=30)
    assert world.end_of(world.trigger(line.pipeline_id))["status"] == "success"
    assert not line.difference(), line.difference()
    line.close()


def delete_it(world: World, point: str, fault: str) -> None:
    """A pipeline with a run is deleted."""
    line = fresh(world)
    run_id = world.trigger(line.pipeline_id)
    world.end_of(run_id)
    del world.ended[run_id]
    world.arm(point, line.pipeline_id, fault)

    def deleted() -> bool:
        answer = world.ask("DELETE", f"/pipelines/{line.pipeline_id}")
        return answer is not None and answer.status_code in (204, 404)

    eventually(deleted, seconds=60, what="The deletion", pause=0.5)
    world.require_taken(point, line.pipeline_id, seconds=AGREES_SECONDS)
    assert world.insist("GET", f"/pipelines/{line.pipeline_id}").status_code == 404
    assert world.insist("GET", f"/pipelines/runs/{run_id}").status_code == 404
    eventually(lambda: _is_gone(world, run_id), seconds=_GONE_SECONDS, what="The purge", pause=1)
    line.close()


def _is_gone(world: World, run_id: str) -> bool:
    if (world.platform.home / "outputs" / run_id).exists():
        return False
    return not world.launches_of(run_id)


def reset_it(world: World, point: str, fault: str) -> None:
    """The next run is to read everything anew."""
    line = fresh(world)
    assert world.end_of(world.trigger(line.pipeline_id))["status"] == "success"
    world.arm(point, line.pipeline_id, fault)

    def reset() -> bool:
        answer = world.ask("DELETE", f"/pipelines/{line.pipeline_id}/state")
        return answer is not None and answer.status_code < 300

    eventually(reset, seconds=60, what="The reset", pause=0.5)
    world.require_taken(point, line.pipeline_id)
    run = world.end_of(world.trigger(line.pipeline_id))
    assert (run["status"], run["rows"]) == ("success", 3), run
    assert not line.difference(), line.difference()
    line.close()


def prune_it(world: World, point: str, fault: str) -> None:
    """The service starts, and prunes first of all."""
    world.arm(point, "platform", fault)
    world.platform.part("api").kill()
    world.require_taken(point, seconds=60)
    world.after_kill()
    run_it_plainly(world)


def run_it_plainly(world: World) -> None:
    """A run without any fault."""
    line = fresh(world)
    assert world.end_of(world.trigger(line.pipeline_id))["status"] == "success"
    assert not line.difference(), line.difference()
    line.close()


def slot_it(world: World, point: str, fault: str) -> None:
    """A schedule fires."""
    line = fresh(world)
    world.arm(point, line.pipeline_id, fault)
    world.insist("PUT", f"/pipelines/{line.pipeline_id}", {"schedule": "* * * * *"})
    world.require_taken(point, line.pipeline_id, seconds=150)  # the second full minute

    def ran() -> bool:
        runs = world.runs_of(line.pipeline_id)
        return any(run["status"] == "success" for run in runs)

    eventually(ran, seconds=150, what="A run of the schedule", pause=1)
    world.insist("PUT", f"/pipelines/{line.pipeline_id}", {"schedule": None})
    for run in world.runs_of(line.pipeline_id):
        world.end_of(run["id"], seconds=ENDS_SECONDS)
    slots = world.insist("GET", f"/pipelines/{line.pipeline_id}/schedule").json()["past"]
    moments = [slot["scheduled_at"] for slot in slots]
    assert len(moments) == len(set(moments)), f"a slot twice: {moments}"
    scheduled = [world.run_view(run["id"])["scheduled_at"] for run in world.runs_of(line.pipeline_id)]
    assert len(scheduled) == len(set(scheduled)), f"two runs of one slot: {scheduled}"
    assert not line.difference(), line.difference()
    line.close()


def admit_it(world: World, point: str, fault: str) -> None:
    """A slot waits for a run of its pipeline to end."""
    policy = {"overlap": "queue"}
    slow = {"name": "dummy", "stream": "creatures", "records": 100_000, "sleep": 0.2}
    config = {"name": "Queued", "source": slow, "destination": {"name": "logger"}}
    body = {"name": "Queued", "config": config, "policy": policy, "schedule": "* * * * *"}
    pipeline = world.insist("POST", "/pipelines", body).json()["id"]
    run_id = world.trigger(pipeline)

    def waits() -> bool:
        slots = world.insist("GET", f"/pipelines/{pipeline}/schedule").json()["past"]
        return any(slot["outcome"] == "waiting" for slot in slots)

    eventually(waits, seconds=130, what="A waiting slot", pause=1)
    world.insist("PUT", f"/pipelines/{pipeline}", {"schedule": None})
    world.arm(point, "platform", fault)
    world.insist("POST", f"/pipelines/runs/{run_id}/cancel")
    world.ended[run_id] = "cancelled"
    world.require_taken(point, seconds=60)
    eventually(lambda: len(world.runs_of(pipeline)) > 1, seconds=60, what="The slot's run", pause=0.5)
    for run in world.runs_of(pipeline):
        with suppress(AssertionError):
            world.insist("POST", f"/pipelines/runs/{run['id']}/cancel")
        world.end_of(run["id"])


def remove_it(world: World, point: str, fault: str) -> None:
    """A run expires, in a platform that keeps one of each pipeline."""
    line = fresh(world)
    run_id = world.trigger(line.pipeline_id)
    world.end_of(run_id)
    del world.ended[run_id]
    world.arm(point, run_id, fault)
    assert world.end_of(world.trigger(line.pipeline_id))["status"] == "success"
    world.require_taken(point, run_id, seconds=300)

    def removed() -> bool:
        answer = world.insist("GET", f"/pipelines/runs/{run_id}")
        return answer.status_code == 404 and _is_gone(world, run_id)

    eventually(removed, seconds=300, what="The removal", pause=2)
    assert not line.difference(), line.difference()
    line.close()


SCENARIOS: dict[str, Scenario] = {
    "keyed": repeat_it,
    "answered": repeat_it,
    "triggered": run_it,
    "changed": change_it,
    "deleted": delete_it,
    "cancelled": cancel_it,
    "state_set": reset_it,
    "leased": run_it,
    "launching": run_it,
    "launched": run_it,
    "recorded": run_it,
    "postponed": postpone_it,
    "relaunching": relaunch_it,
    "relaunched": relaunch_it,
    "reconciled": lose_it,
    "reaped": reap_it,
    "admitted": admit_it,
    "stopping": cancel_it,
    "asked_to_stop": cancel_it,
    "stopped": cancel_it,
    "reloading": reload_it,
    "reloaded": reload_it,
    "purging": delete_it,
    "history_purged": delete_it,
    "outputs_purged": delete_it,
    "purged": delete_it,
    "removing": remove_it,
    "history_removed": remove_it,
    "output_removed": remove_it,
    "forgotten": remove_it,
    "pruned": prune_it,
    "slots_due": slot_it,
    "slots_taken": slot_it,
    "slot_taken": slot_it,
    "starting": launch_it,
    "started": launch_it,
    "stop_telling": cancel_it,
}
"""How each point outside of a load is reached."""
