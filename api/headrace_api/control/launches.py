"""When a launch of a run counts as lost, and how many launches an attempt may have."""

from collections.abc import Sequence

from headrace_api.dagster.runs import DagsterRun

LAUNCHES = 3
"""After so many processes of one attempt have begun and ended without a claim, the run fails."""
UNBEGUN_LAUNCHES = 10
"""The same for launches that never became a process. They are repeated only while a launch can be made."""
CLAIM_SECONDS = 90.0
"""A worker claims its run within seconds of its start. After this long without a change, it is lost."""


def is_lost(run: DagsterRun) -> bool:
    """Return whether the Dagster run of a pending row has no process any more, whatever Dagster says."""
    return not run.status.is_terminal and run.silent_seconds > CLAIM_SECONDS


def are_enough(launches: Sequence[DagsterRun]) -> bool:
    """Return whether no further launch is made of an attempt whose launches these were.

    A part of Dagster that was away is not a process that died, so the two are counted apart.
    """
    begun = sum(run.began for run in launches)
    return begun >= LAUNCHES or len(launches) - begun >= UNBEGUN_LAUNCHES
