"""Plays a history on a platform and tells what was wrong with it."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
import verdict
from home import PATIENCE, Away, new_key
from line import GaveUp, Line, Outcome, destination_of, source_of
from steps import History, Step
from tables import Truth
from watch import CursorWatch, DestinationWatch, FenceWatch, RunWatch, within
from world import World, disturb_network

_STOPPED_WITHIN = 25.0
_ANSWERED_WITHIN = 100.0  # a key is free a minute after its service was killed


class Player:
    """One history while it is played."""

    def __init__(self, history: History, world: World, number: int) -> None:
        self.history, self.world, self.home = history, world, world.home
        self.lines: list[Line] = []
        self.problems: list[str] = []
        self.events: list[str] = []
        self.number = number  # on this platform: it makes names unique
        self._copies = 0
        self._began = time.monotonic()

    def play(self) -> Outcome:
        """Play it and judge it."""
        del self.home.problems[:]
        with ExitStack() as watches:
            run_watch, fences = RunWatch(self.home), FenceWatch(self.home)
            try:
                for index, spec in enumerate(self.history.pipelines):
                    self.lines.append(self._line(index, spec))
                for watch in (run_watch, fences, *(one.watch for one in self.lines)):
                    watches.enter_context(watch)
                for line in self.lines:
                    if line.spec["mode"] != "replace":
                        watches.enter_context(line.cursor_watch)
                for step in self.history.steps:
                    self._do(step)
                    time.sleep(step.get("wait", 0))
                outcome = verdict.judge(self)
            except GaveUp as error:
                self.world.heal()
                outcome = Outcome(history=self.history, problems=[str(error)], events=self.events, seconds=0)
        for watch in (run_watch, fences, *(w for one in self.lines for w in (one.watch, one.cursor_watch))):
            outcome.problems += watch.problems
        outcome.problems += self.home.problems
        outcome.seconds = time.monotonic() - self._began
        return outcome

    def say(self, event: str) -> None:
        """Note what happens."""
        self.events.append(f"{time.monotonic() - self._began:6.2f} {event}")

    def request(
        self, method: str, path: str, body: Any = None, *, how: str | None = None, statuses: tuple[int, ...]
    ) -> Any:
        """Send a request under a key until it is answered; return the answer. Raises GaveUp.

        `how` says what happens to the first one: its answer is dropped, its client hangs up, or its service
        is killed.
        """
        key = new_key() if method == "POST" else None
        if how is not None:
            self._unanswered(method, path, body, key, how)
        deadline = time.monotonic() + _ANSWERED_WITHIN * PATIENCE
        last = ""
        while time.monotonic() < deadline:
            try:
                answer = self.home.ask(method, path, body, key=key)
            except Away as error:
                last = str(error)
            else:
                last = f"{answer.status} {answer.body}"
                is_busy = answer.status == 409 and "idempotency" in str(answer.body.get("code"))
                if answer.status != 503 and not is_busy:
                    if answer.status not in statuses:
                        self.problems.append(f"{method} {path} answered {last[:300]}")
                    return answer
            time.sleep(0.3)
        raise GaveUp(f"{method} {path}: no answer within {_ANSWERED_WITHIN} s; the last: {last[:200]}")

    def _unanswered(self, method: str, path: str, body: Any, key: str | None, how: str) -> None:
        if how == "hang_up":
            return self.home.hang_up(method, path, body, key=key)
        if how == "drop":
            self.world.front.drop_answer()
        else:
            self.world.until(0.03, lambda: _none(self.home.kill("api")))
        with suppress(Away):
            self.home.ask(method, path, body, key=key, port=self.world.front.port)
        return None

    # Preparations

    def _line(self, index: int, spec: Step) -> Line:
        name = f"t{self.number}_{index}"
        source, destination = source_of(name, spec, self.world), destination_of(name, spec, self.world)
        truth = Truth(spec["mode"])
        source.write(truth.grow(spec["rows"]))
        config = {"name": name, "source": source.config(), "destination": destination.config()}
        policy = {"max_attempts": spec["attempts"], "retry_delay_seconds": 1}
        body = {"name": name, "config": config, "policy": policy}
        made = self.request("POST", "/api/pipelines", body, statuses=(201,))
        if made.status != 201:
            raise GaveUp(f"the pipeline was refused: {made.body}")
        pipeline_id = made.body["id"]
        return Line(
            spec=spec, name=name, id=pipeline_id, source=source, destination=destination, truth=truth,
            watch=DestinationWatch(f"{name} {spec}", destination, truth),
            cursor_watch=CursorWatch(name, self.home, pipeline_id, destination),
        )  # fmt: skip

    # Steps

    def _do(self, step: Step) -> None:
        line = self.lines[step.get("on", 0)]
        self.say(" ".join(f"{key}={value}" for key, value in step.items()))
        doers: dict[str, Callable[[Line, Step], None]] = {
            "grow": self._grow, "run": self._run, "cancel": self._cancel, "change": self._change,
            "duplicate": self._duplicate, "delete": self._delete, "kill": self._kill, "pause": self._pause,
            "records": self._records, "network": self._network, "hold": self._hold, "fault": self._fault,
            "unanswered": self._unanswered_request, "full": self._full, "clock": self._clock,
            "second": self._second, "lose": self._lose, "wait": lambda line, step: None,
        }  # fmt: skip
        try:
            doers[step["do"]](line, step)
        except (sqlite3.Error, psycopg.Error) as error:
            self.say(f"  not done: {error}")

    def _grow(self, line: Line, step: Step) -> None:
        line.source.write(line.truth.grow(step["rows"]))

    def _run(self, line: Line, step: Step, how: str | None = None) -> None:
        if line.is_deleted:
            return
        place = line.truth.batch
        try:
            answer = self.request("POST", f"/api/pipelines/{line.id}/run", how=how, statuses=(201, 409))
        except GaveUp:
            line.is_complete = False
            raise
        if answer.status == 201:
            line.accepted[answer.body["id"]] = place
            self.say(f"  accepted {answer.body['id']}")
        else:
            self.say(f"  {answer.body.get('code')} {answer.body.get('run_id')}")

    def _cancel(self, line: Line, step: Step, how: str | None = None) -> None:
        if line.is_deleted or not line.accepted:
            return
        run_id = list(line.accepted)[-1]
        answer = self.request("POST", f"/api/pipelines/runs/{run_id}/cancel", how=how, statuses=(200, 409))
        if answer.status == 200:
            line.cancelled.add(run_id)
        self.say(f"  {answer.status} for {run_id}")

    def _change(self, line: Line, step: Step, how: str | None = None) -> None:
        if line.is_deleted:
            return
        self._copies += 1
        tags = [f"tag {self._copies}"]
        path = f"/api/pipelines/{line.id}"
        self.request("PUT", path, {"tags": tags}, how=how, statuses=(200,))
        found = self.request("GET", path, statuses=(200,))
        if found.status == 200 and found.body["tags"] != tags:
            self.problems.append(f"a change was answered and is not there: {found.body['tags']} for {tags}")

    def _duplicate(self, line: Line, step: Step, how: str | None = None) -> None:
        if line.is_deleted:
            return
        self._once(f"/api/pipelines/{line.id}/duplicate", lambda name: {"name": name}, how)

    def _create(self, line: Line, step: Step, how: str | None = None) -> None:
        source = {"name": "dummy", "stream": "creatures"}
        config = {"name": "once", "source": source, "destination": {"name": "logger"}}
        self._once("/api/pipelines", lambda name: {"name": name, "config": config}, how)

    def _once(self, path: str, body: Callable[[str], Any], how: str | None) -> None:
        """Send a request that makes a pipeline; there must be one of that name. Then delete it."""
        self._copies += 1
        name = f"once {self.number}.{self._copies}"
        made = self.request("POST", path, body(name), how=how, statuses=(201,))
        found = self.request("GET", f"/api/pipelines?q={name.replace(' ', '%20')}", statuses=(200,)).body
        same = [one["id"] for one in found if one["name"] == name]
        if made.status == 201 and same != [made.body["id"]]:
            self.problems.append(f"POST {path} under one key made {same}, and answered {made.body['id']}")
        for pipeline_id in same:
            self.request("DELETE", f"/api/pipelines/{pipeline_id}", statuses=(200, 204, 404))

    def _delete(self, line: Line, step: Step) -> None:
        if line.is_deleted or len(self.lines) == 1:
            return
        line.is_deleted = True
        self.request("DELETE", f"/api/pipelines/{line.id}", statuses=(200, 204, 404))
        self.request("GET", f"/api/pipelines/{line.id}", statuses=(404,))

    def _unanswered_request(self, line: Line, step: Step) -> None:
        doers = {
            "create": self._create, "run": self._run, "duplicate": self._duplicate, "change": self._change,
            "cancel": self._cancel,
        }  # fmt: skip
        doers[step["request"]](line, step, step["how"])

    def _kill(self, line: Line, step: Step) -> None:
        self.say(f"  killed {self.home.kill(step['part'])}")
        if step["part"] == "up" and not within(_STOPPED_WITHIN, lambda: not self.home.pids("all")):
            left = self.home.parts()
            self.problems.append(f"{_STOPPED_WITHIN} s after their supervisor was killed: {left}")
            self.home.kill("all")
        if step["part"] in ("up", "all"):
            self.home.start()

    def _pause(self, line: Line, step: Step) -> None:
        self.world.until(step["seconds"], self.home.pause(step["part"]))

    def _records(self, line: Line, step: Step) -> None:
        if not self.world.disturb_records(step["what"], step["seconds"]):
            self.say("  not done: the records have a fault already")

    def _network(self, line: Line, step: Step) -> None:
        self.world.until(step["seconds"], disturb_network(self.world.data_proxy, step["what"]))

    def _hold(self, line: Line, step: Step) -> None:
        self.world.data_proxy.hold(step["message"], step["seconds"])

    def _fault(self, line: Line, step: Step) -> None:
        (self.home.faults / f"{step['point']}.{line.id}").write_text(step["action"])

    def _full(self, line: Line, step: Step) -> None:
        self.world.until(step["seconds"], self.world.fill_disk())

    def _lose(self, line: Line, step: Step) -> None:
        proxy = self.world.records_proxy if step["where"] == "records" else self.world.data_proxy
        if proxy is not None:
            proxy.lose_answer_to("COMMIT")

    def _second(self, line: Line, step: Step) -> None:
        self.world.until(step["seconds"], self.home.second_service())

    def _clock(self, line: Line, step: Step) -> None:
        if self.world.clock is not None:
            self.world.until(step["seconds"], self.world.move_clock(step["by"]))


def _none(_: object) -> None:
    return None
