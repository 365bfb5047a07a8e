"""One pipeline as a Dagster job and schedule.

Their names come from the pipeline's id, so history outlives a rename. People read the description, tags,
kinds and metadata. From a pipeline's config, Dagster gets only the names of source, stream and destination.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from dagster import (
    DagsterInvalidDefinitionError,
    DefaultScheduleStatus,
    GraphDefinition,
    JobDefinition,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    in_process_executor,
)

from headrace.naming import PIPELINE_ID_TAG, job_name, schedule_name
from headrace.records import JobCard
from headrace_dagster.repository import PipelineDefinitions

PIPELINE_NAME_TAG = "headrace/pipeline"
"""Run tag with the pipeline's name at the time of the run, for Dagster's list of runs."""

TakeSlot = Callable[[UUID, datetime], str]

_MARKDOWN = re.compile(r"([\\`*{}\[\]<>|~]|(?<!\w)_|_(?!\w))")
_OWNER = "owner:"
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NOT_TEAM = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_KIND = re.compile(r"[^A-Za-z0-9_.-]")


def define(
    card: JobCard, *, graph: GraphDefinition, take_slot: TakeSlot, api_address: str
) -> PipelineDefinitions:
    """Define a pipeline's job and its schedule, if any; `api_address` is the base of links."""
    return PipelineDefinitions(
        build_job=lambda: _job(card, graph, api_address),
        build_schedule=lambda: _schedule(card, take_slot) if card.schedule else None,
    )


def owners_of(card: JobCard) -> list[str]:
    """Return the pipeline's owners as Dagster writes them: an e-mail address, or `team:` and a name.

    The owners are the pipeline's tags that begin with `owner:`.
    """
    named = [tag.removeprefix(_OWNER).strip() for tag in card.tags if tag.startswith(_OWNER)]
    return [
        owner if _ADDRESS.fullmatch(owner) else f"team:{_NOT_TEAM.sub('-', owner)}"
        for owner in named
        if owner.strip()
    ]


def kinds_of(card: JobCard) -> dict[str, str]:
    """Return the tags that make Dagster show the two connectors as kinds."""
    return {f"dagster/kind/{_NOT_KIND.sub('_', name)[:63]}": "" for name in (card.source, card.destination)}


def describe(card: JobCard, api_address: str) -> str:
    """Describe the pipeline in Markdown, its name first, because lists show the beginning as plain text."""
    lines = [
        escaped(card.name),
        f"{escaped(card.source)}.{escaped(card.stream)} → {escaped(card.destination)}, "
        f"{card.sync_mode.replace('_', ' ')}",
        _schedule_words(card),
    ]
    if card.domain_name:
        lines.append(f"Domain: {escaped(card.domain_name)}")
    if card.tags:
        lines.append(f"Tags: {escaped(', '.join(card.tags))}")
    lines.append(f"[REST resource]({_link(card, api_address)}) · [REST docs]({api_address}/docs)")
    return "\n\n".join(lines)


def _job(card: JobCard, graph: GraphDefinition, api_address: str) -> JobDefinition:
    return graph.to_job(
        name=job_name(card.pipeline_id),
        description=describe(card, api_address),
        executor_def=in_process_executor,
        tags=_tags(card),
        run_tags=_run_tags(card),
        metadata={
            "name": card.name,
            "source": card.source,
            "stream": card.stream,
            "destination": card.destination,
            "sync mode": card.sync_mode,
            "revision": card.revision,
        },
    )


def _schedule(card: JobCard, take_slot: TakeSlot) -> ScheduleDefinition | None:
    def evaluate(context: ScheduleEvaluationContext) -> SkipReason:
        # Dagster starts no run: the dispatcher launches all runs, within the limits.
        return SkipReason(take_slot(card.pipeline_id, context.scheduled_execution_time.astimezone(UTC)))

    try:
        return ScheduleDefinition(
            name=schedule_name(card.pipeline_id),
            job_name=job_name(card.pipeline_id),
            cron_schedule=card.schedule,
            execution_timezone=card.timezone,
            execution_fn=evaluate,
            description=escaped(card.name),
            default_status=DefaultScheduleStatus.RUNNING if card.enabled else DefaultScheduleStatus.STOPPED,
        )
    except DagsterInvalidDefinitionError:
        # A schedule that Dagster refuses must not break those of other pipelines.
        return None


def _schedule_words(card: JobCard) -> str:
    if not card.schedule:
        return "Runs only when started by hand."
    words = f"Runs at `{card.schedule}` ({card.timezone})"
    return f"{words}." if card.enabled else f"{words}. Disabled: no scheduled runs."


def _tags(card: JobCard) -> dict[str, str]:
    tags = {
        PIPELINE_NAME_TAG: card.name,
        "headrace/source": card.source,
        "headrace/destination": card.destination,
    }
    if card.domain_name:
        tags["headrace/domain"] = card.domain_name
    if card.tags:
        tags["headrace/tags"] = ", ".join(card.tags)
    return tags | kinds_of(card)


def _run_tags(card: JobCard) -> dict[str, str]:
    """Return the tags that every run gets, to search Dagster's list of runs."""
    tags = {
        PIPELINE_ID_TAG: str(card.pipeline_id),
        PIPELINE_NAME_TAG: card.name,
        "headrace/source": card.source,
        "headrace/destination": card.destination,
    }
    return tags | ({"headrace/domain": card.domain_name} if card.domain_name else {})


def _link(card: JobCard, api_address: str) -> str:
    return f"{api_address}/api/pipelines/{card.pipeline_id}"


def escaped(text: str) -> str:
    """Escape text for Markdown. Only what must be escaped is, because some lists show plain text."""
    return _MARKDOWN.sub(r"\\\1", text)
