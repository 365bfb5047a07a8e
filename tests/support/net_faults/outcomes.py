"""What becomes of a run that meets a fault, seen from outside, and of the next one."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from net_faults.cases import Case, Place, ReferenceCase, Servers, url_of
from net_faults.faults import Cause

from headrace.connectors import ConnectorError
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.errors import HeadraceError
from headrace.keepers.google import Google
from headrace.pipeline.document import parse_config
from headrace.pipeline.references.resolver import Resolver
from headrace.settings import Settings

_HANGS = "hangs"
_log = logging.getLogger("headrace.test.faults")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run ended with."""

    code: str  # of the error; empty: success
    temporary: bool = False
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.code:
            return "success"
        return f"`{self.code}`, {'tried again' if self.temporary else 'not tried again'}"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A cell of the table, and what is wrong with it."""

    outcome: Outcome
    destination: str
    faults: tuple[str, ...]


def seen(case: type[Case], cause: Cause, servers: Servers, folder: Path) -> Seen:
    """Run a pipeline, let its source grow, run it into the fault, and once more without."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        made = case(servers, folder, stack)
        well = Place(port=made.peer.port)
        faults = []
        first = ended(made, well)
        if first.code:
            faults.append(f"the run before it: {first}: {first.detail}")
        made.grow()
        with cause.makes(made) as place:
            outcome = ended(made, place)
        now = made.delivered()
        destination = _told(made, now)
        faults += _wrong(made, cause, outcome, now)
        made.peer.heal()
        last = ended(made, well)
        if last.code or made.delivered() != made.after_growth():
            faults.append(f"the run after it: {last} {last.detail}, {len(made.delivered())} rows")
        return Seen(outcome=outcome, destination=destination, faults=tuple(faults))


def _wrong(case: Case, cause: Cause, outcome: Outcome, now: list[Any]) -> list[str]:
    faults = []
    if outcome.code == _HANGS:
        faults.append(f"it does not end within {case.bound:g} s")
    elif outcome.code and (outcome.code not in cause.codes or outcome.temporary is not cause.temporary):
        faults.append(f"it ends with {outcome}: {outcome.detail}")
    elif not outcome.code and not cause.may_succeed:
        faults.append("it ends as a success")
    if now != (case.before() if outcome.code and not cause.is_done else case.after_growth()):
        faults.append(f"the destination holds {len(now)} rows")
    return faults


def _told(case: Case, now: list[Any]) -> str:
    if isinstance(case, ReferenceCase):
        return "none"
    return {True: "as before", False: "all rows"}[now == case.before()] if now else "nothing"


def ended(case: Case, place: Place) -> Outcome:
    """Run the pipeline in a thread, and wait for its end for the case's bound."""
    outcomes: list[Outcome] = []
    began = time.monotonic()

    def run() -> None:
        try:
            _run(case, place)
            outcomes.append(Outcome(code=""))
        except HeadraceError as error:
            temporary = isinstance(error, ConnectorError) and error.temporary
            outcomes.append(Outcome(code=error.code, temporary=temporary, detail=error.detail))
        except Exception as error:
            outcomes.append(Outcome(code=f"raises {type(error).__name__}", detail=str(error)[:300]))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(case.bound)
    found = outcomes[0] if outcomes else Outcome(code=_HANGS)
    return Outcome(
        code=found.code, temporary=found.temporary, detail=found.detail, seconds=time.monotonic() - began
    )


def _run(case: Case, place: Place) -> None:
    if isinstance(case, ReferenceCase):
        settings = Settings(home=case.folder, reference_seconds=2, **case.settings(place))
        with patch.object(Google, "secret_manager", url_of(place)):
            assert Resolver(settings).resolve(case.reference, is_secret=True) == case.value
        return
    config = parse_config(case.pipeline(place))
    run_id = str(uuid.uuid4())
    job = EngineJob(
        output_path=case.folder / f"{run_id}.parquet",
        pipeline_id="pipeline-1",
        run_id=run_id,
        fence=1,
        log=_log,
    )
    run_pipeline(config, job)
