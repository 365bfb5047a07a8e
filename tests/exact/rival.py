"""Other pipelines that want a history's table: one that must not have it, and one that shares it."""

import json
import logging
from typing import Any

from destinations import Target
from history_steps import Plan
from model import Row
from source_system import Place

from headrace.errors import Conflict
from headrace.service.execution import RunFailed, execute_run
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs

_LOG = logging.getLogger("headrace.exact")
_REFUSALS = ("pipeline.table_taken", "destination.table_owned")


class SharedPipeline:
    """Adds rows of its own, which have nothing but an id, from files that only it reads."""

    def __init__(self, platform: Platform, target: Target, place: Place, key: list[str]) -> None:
        self._platform = platform
        self._pipelines = Pipelines(platform, platform.owner())
        self._folder = place.folder / "rival"
        self._source = {
            "name": "files", "paths": str(self._folder / "*.jsonl"), "stream": "rivals",
            "sync_mode": "incremental", "primary_key": key,
        }  # fmt: skip
        self._destination = {**target.config(), "shared": True}
        self._pipeline: Any = None

    def add(self, ids: tuple[int, ...]) -> list[Row]:
        """Load rows with these ids and return them."""
        rows: list[Row] = [{"id": number} for number in ids]
        self._folder.mkdir(exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self._folder / f"{ids[0]}.jsonl").write_text(text)
        if self._pipeline is None:
            config = {"name": "rivals", "source": self._source, "destination": self._destination}
            self._pipeline = self._pipelines.create(PipelineDraft(name="Rivals", config=config))
        _run(self._platform, self._pipeline)
        return rows


def intrude(platform: Platform, target: Target, place: Place, plan: Plan) -> None:
    """Have a pipeline try to fill the table of another one. Raises AssertionError where it can."""
    pipelines = Pipelines(platform, platform.owner())
    path = place.folder / "intruder.jsonl"
    path.write_text('{"id": -1}\n')
    sync_mode = "incremental" if plan.is_incremental else "full_refresh"
    source = {"name": "files", "paths": str(path), "stream": "intruders", "sync_mode": sync_mode}
    config = {"name": "intruders", "source": source, "destination": target.config()}
    try:
        intruder = pipelines.create(PipelineDraft(name="Intruders", config=config))
    except Conflict as error:
        _check(error.code)
        return
    assert not target.is_known_early, "a second pipeline of the table was accepted"
    try:
        _run(platform, intruder)
    except RunFailed as error:
        _check(error.cause_code)
    else:
        raise AssertionError("a second pipeline has filled the table")
    finally:
        pipelines.delete(intruder.id)


def _check(code: str) -> None:
    assert code in _REFUSALS, code


def _run(platform: Platform, pipeline: Any) -> None:
    run = Runs(platform, platform.owner()).trigger(pipeline.id)
    execute_run(platform, pipeline_id=pipeline.id, run_id=run.id, dagster_run_id="rival", log=_LOG)
