"""A pipeline whose schedule fires each minute, whatever happens meanwhile: each slot once, and told truly."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from home import Home
from watch import TERMINAL, within

_OUTCOMES = ("run", "skipped")  # nothing waits, because the pipeline's policy is the default one


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """The pipeline, and where it is."""

    home: Home
    pipeline_id: str

    @classmethod
    def begin(cls, home: Home) -> "Timetable":
        """Create the pipeline."""
        source = {"name": "dummy", "stream": "creatures"}
        config = {"name": "timetable", "source": source, "destination": {"name": "logger"}}
        body = {"name": "timetable", "config": config, "schedule": "* * * * *"}
        made = home.ask("POST", "/api/pipelines", body)
        assert made.status == 201, made
        return cls(home=home, pipeline_id=made.body["id"])

    def problems(self) -> list[str]:
        """Return what is wrong with the slots so far."""
        path = f"/api/pipelines/{self.pipeline_id}"
        self.home.ask("PUT", path, {"enabled": False})

        def ended() -> bool:
            runs = self.home.ask("GET", f"{path}/runs?limit=1000").body
            return all(run["status"] in TERMINAL for run in runs)

        wrong = [] if within(150, ended) else ["a run of the schedule has not ended"]
        past = self.home.ask("GET", f"{path}/schedule?limit=1000").body["past"]
        listed = self.home.ask("GET", f"{path}/runs?limit=1000").body
        runs = [self.home.ask("GET", f"/api/pipelines/runs/{run['id']}").body for run in listed]
        return [f"timetable: {one}" for one in wrong + _slots(past) + _runs(past, runs)]


def _slots(past: list[dict[str, Any]]) -> list[str]:
    """Return the slots that are there twice, or not at all, or with an outcome that cannot be."""
    times = Counter(datetime.fromisoformat(slot["scheduled_at"]) for slot in past)
    wrong = [f"slot {time} is there {count} times" for time, count in times.items() if count > 1]
    wrong += [f"slot {slot}" for slot in past if slot["outcome"] not in _OUTCOMES]
    time, last = min(times, default=None), max(times, default=None)
    while time is not None and last is not None and time < last:
        wrong += [] if time in times else [f"nobody took the slot {time}"]
        time += timedelta(minutes=1)
    return wrong


def _runs(past: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[str]:
    """Return how the ledger and the runs differ."""
    told = {slot["run_id"]: slot["scheduled_at"] for slot in past if slot["outcome"] == "run"}
    there = {run["id"]: run["scheduled_at"] for run in runs}
    return [f"the ledger has {told}, the runs are {there}"] if told != there else []
