"""Where each failpoint is: which process reaches it, what has happened by then, who repairs a kill there.

docs/failpoints.md is made from this list, and a test holds it against the calls of `failpoints.reach`. Only
tests import it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Part = Literal["REST service", "control loops", "code server", "worker", "destination"]
RESTART = 15.0
"""Within this time the platform is ready again after any of its processes has died."""
TOLD = 150.0
"""Within this time Dagster agrees on a run that has ended; see docs/run-lifecycle.md."""
_AGAIN = "the client sends the request again"
_LAUNCHED_LATER = "any dispatcher, once the lease of the launch has run out"
_LOST = "the reconciler or the reaper; the policy decides on another attempt"
_LOST_IN_LOAD = "the reconciler or the reaper; another attempt asks the destination"
_NEXT_ROUND = "the next round of the same loop"


@dataclass(frozen=True, kw_only=True)
class Failpoint:
    """One point. Its subject is the pipeline's id unless it says otherwise."""

    part: Part
    after: str  # what has happened before it
    repair: str  # who repairs a kill here
    seconds: float  # within which that is repaired
    subject: str = "pipeline"


def _rest(after: str, repair: str = _AGAIN, seconds: float = RESTART, subject: str = "pipeline") -> Failpoint:
    return Failpoint(part="REST service", after=after, repair=repair, seconds=seconds, subject=subject)


def _loop(
    after: str, repair: str = _NEXT_ROUND, seconds: float = RESTART, subject: str = "pipeline"
) -> Failpoint:
    return Failpoint(part="control loops", after=after, repair=repair, seconds=seconds, subject=subject)


def _code_server(after: str, repair: str, seconds: float, subject: str = "pipeline") -> Failpoint:
    return Failpoint(part="code server", after=after, repair=repair, seconds=seconds, subject=subject)


def _worker(after: str, repair: str = _LOST, seconds: float = 30.0) -> Failpoint:
    return Failpoint(part="worker", after=after, repair=repair, seconds=seconds)


def _destination(
    after: str, repair: str = _LOST_IN_LOAD, seconds: float = 30.0, subject: str = "pipeline"
) -> Failpoint:
    return Failpoint(part="destination", after=after, repair=repair, seconds=seconds, subject=subject)


POINTS: Mapping[str, Failpoint] = {
    # Requests
    "keyed": _rest(
        "The Idempotency-Key is taken; nothing is changed.",
        "the key: it expires a minute after it was taken, and the request may be sent again",
        75.0,
        subject="Idempotency-Key",
    ),
    "answered": _rest(
        "The change and the answer are committed; the answer is not sent.",
        "the client, who gets the answer by the same key",
        subject="Idempotency-Key",
    ),
    "triggered": _rest("A pending run is stored, at the latest with the answer.", "any dispatcher"),
    "changed": _rest("The pipeline is changed; Dagster has not read it again.", "the reloader"),
    "deleted": _rest("The pipeline's tombstone is stored.", "the purger", TOLD),
    "cancelled": _rest("The run is cancelled; its worker does not know.", "the lease; the terminator", TOLD),
    "state_set": _rest("The next run's start is stored.", "nobody has to: the next run reads it"),
    # Launches
    "leased": _loop("The launch is leased; Dagster has not been asked.", _LAUNCHED_LATER, 45.0),
    "launching": _loop("Dagster knows no launch that is under way.", _LAUNCHED_LATER, 45.0),
    "launched": _loop(
        "Dagster has the run; its id is not stored.", "any dispatcher finds it by its tag", 45.0
    ),
    "recorded": _loop("The id of Dagster's run is stored.", "nobody has to"),
    "postponed": _loop("The launch failed, and is due again later.", "any dispatcher", 45.0),
    "relaunching": _loop("Dagster's run has ended without a claim; the row waits for it.", seconds=30.0),
    "relaunched": _loop("The run is due for another launch.", "any dispatcher", 45.0),
    "reconciled": _loop("A run that has ended in Dagster is ended here.", "the terminator", TOLD),
    "reaped": _loop("The attempt is failed; its temporary files are there.", "the sweeper", 60.0),
    "admitted": _loop("Waiting slots have got their runs.", "any dispatcher", subject="platform"),
    # Stops, reloads and removals
    "stopping": _loop("The stop is leased; Dagster has not been asked.", "any terminator", TOLD),
    "asked_to_stop": _loop("Dagster has been asked to stop a run.", "any terminator", TOLD),
    "stopped": _loop("The row says that the run has stopped in Dagster.", "nobody has to"),
    "reloading": _loop("A change was seen; Dagster has not read it.", seconds=RESTART, subject="platform"),
    "reloaded": _loop("Dagster has read the pipelines again.", subject="platform"),
    "purging": _loop("A tombstone was found; nothing is removed.", seconds=60.0),
    "history_purged": _loop("The pipeline's runs are gone from Dagster.", seconds=60.0),
    "outputs_purged": _loop("The outputs are gone, too; the rows are there.", seconds=60.0),
    "purged": _loop("Only a tombstone without a name is left.", "the pruner, after a week"),
    "removing": _loop("An expired run was found; nothing is removed.", seconds=90.0, subject="run"),
    "history_removed": _loop("The run is gone from Dagster.", seconds=90.0, subject="run"),
    "output_removed": _loop("The output is gone, too; the row is there.", seconds=90.0, subject="run"),
    "forgotten": _loop("The row is gone.", "nobody has to", subject="run"),
    "pruned": _loop("A batch of old rows is deleted.", seconds=3600.0, subject="platform"),
    # Schedules and launches in the code server
    "slots_due": _code_server(
        "A slot is due; nobody has taken it.",
        "the daemon: it evaluates the slot again, or the next one",
        75.0,
    ),
    "slots_taken": _code_server(
        "The slots of all pipelines that are due are taken, and their runs stored.", "any dispatcher", 75.0
    ),
    "slot_taken": _code_server("The pipeline's slot is taken.", "any dispatcher", 75.0),
    "starting": _code_server(
        "A launch has come; no worker is started.", "dispatcher and reconciler", 120.0, subject="platform"
    ),
    "started": _code_server(
        "The worker's process is up; the launch is not answered.",
        "the worker, which goes on; dispatcher and reconciler",
        120.0,
        subject="platform",
    ),
    # A worker
    "claiming": _worker(
        "The worker is up; the run is pending.", "the reconciler, which launches anew", 120.0
    ),
    "claimed": _worker("The run is running; nothing renews its lease."),
    "renewing": _worker("The lease is due for its renewal."),
    "extracting": _worker("A batch is in the unfinished output file."),
    "writing": _worker("All batches are in it."),
    "publishing": _worker("The output file is whole, under its unfinished name."),
    "written": _worker("The output file has its name.", "the same; another attempt goes on from the file"),
    "committed": _worker("The destination has committed, and said so.", _LOST_IN_LOAD),
    "ended": _worker(
        "The result is written; Dagster's run goes on.", "the code server; else the terminator", TOLD
    ),
    "failed": _worker("The failure is written, and perhaps another attempt.", "the same", TOLD),
    "telling": _worker(
        "The result is written; Dagster has not got the figures.", "the same, without the figures", TOLD
    ),
    "told": _worker(
        "Dagster has got the figures; its run goes on.", "the code server or the terminator", TOLD
    ),
    "stop_telling": _worker("The worker stops; Dagster does not know why.", "the terminator", TOLD),
    # Destinations, within a load
    "locked": _destination("Other loads are kept out; what a killed one left is removed."),
    "table_claimed": _destination("The ledger names the pipeline as the owner, where that goes by itself."),
    "staged": _destination("The rows are in the destination, where no reader sees them."),
    "noted": _destination("The load is noted, to be committed with the rows."),
    "loaded": _destination("The fence is checked; COMMIT is next."),
    "swapped": _destination(
        "New rows are under the table's name, beside the old note (MySQL, BigQuery: a replaced table)."
    ),
    "swap_noted": _destination("They are noted; the old table has another name (MySQL)."),
    "file_written": _destination(
        "A file is whole, under its unfinished name.",
        "the pipeline's next load, which removes it",
        subject="writer: the tag in the file's name",
    ),
    "file_published": _destination(
        "A file has its name.",
        "the pipeline's next load, if no record names it",
        subject="writer: the tag in the file's name",
    ),
    "files_recorded": _destination(
        "The record names the new files; those that they replace are there.", "the pipeline's next load"
    ),
    "landed": _destination("COMMIT is done; the session is open."),
}
