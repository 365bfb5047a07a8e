"""One pipeline as a Dagster job and schedule, told so that people recognise it.

Names come from ids, so that history outlives a rename; everything that people read is description, tags,
kinds and metadata. Nothing here comes from a pipeline's config but three names.
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
    MetadataValue,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    in_process_executor,
)

from headrace.naming import ATTEMPT_TAG, PIPELINE_ID_TAG, RUN_ID_TAG, job_name, schedule_name
from headrace.records import JobCard
from headrace_dagster.repository import Definitions

PIPELINE_NAME_TAG = "headrace/pipeline"
"""Run tag with the pipeline's name at the time, so that Dagster's list of runs can be read."""

TakeSlot = Callable[[UUID, datetime], UUID | str]

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")
_NOT_KIND = re.compile(r"[^A-Za-z0-9_.-]")


def define(card: JobCard, *, graph: GraphDefinition, take_slot: TakeSlot, api_address: str) -> Definitions:
    """Build a pipeline's job and, where it has one, its schedule; `api_address` is for the links."""
    return Definitions(
        job=_job(card, graph, api_address),
        schedule=_schedule(card, take_slot) if card.schedule else None,
    )


def describe(card: JobCard, api_address: str) -> str:
    """Say in Markdown what the pipeline is: its name first, as lists show the beginning only."""
    lines = [
        f"**{_escaped(card.name)}**",
        f"`{_code(card.source)}.{_code(card.stream)}` → `{_code(card.destination)}`, "
        f"{card.sync_mode.replace('_', ' ')}",
        _schedule_words(card),
    ]
    if card.domain_name:
        lines.append(f"Domain: {_escaped(card.domain_name)}")
    if card.tags:
        lines.append(f"Tags: {_escaped(', '.join(card.tags))}")
    lines.append(f"[Open in the API]({_link(card, api_address)})")
    return "\n\n".join(lines)


def _job(card: JobCard, graph: GraphDefinition, api_address: str) -> JobDefinition:
    return graph.to_job(
        name=job_name(card.pipeline_id),
        description=describe(card, api_address),
        executor_def=in_process_executor,
        tags=_tags(card),
        run_tags={PIPELINE_ID_TAG: str(card.pipeline_id), PIPELINE_NAME_TAG: card.name},
        metadata={
            "name": card.name,
            "source": card.source,
            "stream": card.stream,
            "destination": card.destination,
            "sync mode": card.sync_mode,
            "pipeline": MetadataValue.url(_link(card, api_address)),
            "revision": card.revision,
        },
    )


def _schedule(card: JobCard, take_slot: TakeSlot) -> ScheduleDefinition | None:
    def evaluate(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        taken = take_slot(card.pipeline_id, context.scheduled_execution_time.astimezone(UTC))
        if isinstance(taken, str):
            return SkipReason(taken)
        return RunRequest(
            run_key=str(taken),
            tags={
                RUN_ID_TAG: str(taken),
                ATTEMPT_TAG: "1",
                PIPELINE_ID_TAG: str(card.pipeline_id),
                PIPELINE_NAME_TAG: card.name,
            },
        )

    try:
        return ScheduleDefinition(
            name=schedule_name(card.pipeline_id),
            job_name=job_name(card.pipeline_id),
            cron_schedule=card.schedule,
            execution_timezone=card.timezone,
            execution_fn=evaluate,
            description=f"**{_escaped(card.name)}**",
            default_status=DefaultScheduleStatus.RUNNING if card.enabled else DefaultScheduleStatus.STOPPED,
        )
    except DagsterInvalidDefinitionError:
        # One pipeline that Dagster refuses must not take the others' schedules away.
        return None


def _schedule_words(card: JobCard) -> str:
    if not card.schedule:
        return "Runs by hand only."
    words = f"Runs at `{card.schedule}` ({card.timezone})"
    return f"{words}." if card.enabled else f"{words}; disabled: no scheduled runs now."


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
    for connector in (card.source, card.destination):
        tags[f"dagster/kind/{_NOT_KIND.sub('_', connector)[:63]}"] = ""
    return tags


def _link(card: JobCard, api_address: str) -> str:
    return f"{api_address}/api/pipelines/{card.pipeline_id}"


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _code(text: str) -> str:
    return text.replace("`", "'")
