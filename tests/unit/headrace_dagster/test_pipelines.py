from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    DefaultScheduleStatus,
    GraphDefinition,
    ScheduleDefinition,
    build_schedule_context,
    op,
)
from fakes.stored_jobs import FakeJobs, a_card

from headrace.naming import PIPELINE_ID_TAG, asset_key
from headrace.records import JobCard
from headrace_dagster.catalog_entry import catalog_entry
from headrace_dagster.pipelines import define, owners_of
from headrace_dagster.repository import PipelineDefinitions

API = "http://localhost:8000"


@op
def nothing() -> None:
    pass


def defined(card: JobCard, jobs: FakeJobs | None = None) -> PipelineDefinitions:
    graph = GraphDefinition(name="graph", node_defs=[nothing])
    return define(card, graph=graph, take_slot=(jobs or FakeJobs()).take_slot, api_address=API)


def scheduled(card: JobCard, jobs: FakeJobs | None = None) -> ScheduleDefinition:
    schedule = defined(card, jobs).schedule
    assert schedule is not None
    return schedule


def evaluated(schedule: ScheduleDefinition, at: datetime) -> Any:
    with build_schedule_context(scheduled_execution_time=at) as context:
        return schedule.evaluate_tick(context)


def test_a_jobs_description_begins_with_the_pipelines_name() -> None:
    card = a_card(name="Orders to the warehouse")

    description = defined(card).job.description

    assert description.splitlines()[0] == "Orders to the warehouse"
    assert "postgres.public.orders → duckdb, full refresh" in description
    assert "Marketing" in description
    assert "`0 * * * *` (UTC)" in description
    assert f"{API}/api/pipelines/{card.pipeline_id}" in description


def test_a_name_cannot_write_markdown() -> None:
    card = a_card(name="[click](http://evil) *x* <b> _y_ snake_case")

    description = defined(card).job.description

    assert description.splitlines()[0] == r"\[click\](http://evil) \*x\* \<b\> \_y\_ snake_case"


def test_a_job_is_tagged_with_its_connectors_as_kinds() -> None:
    tags = defined(a_card(source="postgres", destination="duckdb")).job.tags

    assert {"dagster/kind/postgres", "dagster/kind/duckdb"} <= set(tags)
    assert tags["headrace/domain"] == "Marketing"


@pytest.mark.parametrize(
    ("tag", "owners"),
    [
        ("owner:maria@example.com", ["maria@example.com"]),
        ("owner: data team", ["team:data-team"]),
        ("owner:", []),
        ("daily", []),
    ],
)
def test_owners_come_from_owner_tags(tag: str, owners: list[str]) -> None:
    assert owners_of(a_card(tags=("weekly", tag))) == owners


def test_a_pipelines_data_is_in_the_catalog_where_its_runs_report_it() -> None:
    card = a_card(source="postgres", destination="duckdb", tags=("owner:maria@example.com",))

    entry = catalog_entry(card, api_address=API)

    assert entry.asset_key.path == list(asset_key(card.pipeline_id, "postgres", "public.orders"))
    assert (entry.group_name, entry.owners) == ("marketing", ["maria@example.com"])
    assert set(entry.tags or {}) == {"dagster/kind/postgres", "dagster/kind/duckdb"}
    assert str(entry.description).startswith(card.name)
    # Dagster would offer to run it, past the platform's own row, if it were of a job.
    assert not entry.job_names
    assert not entry.is_executable


@pytest.mark.parametrize(
    ("domain", "group"), [("Research (bio)", "research_bio"), (None, "default"), ("日本", "日本")]
)
def test_the_catalog_is_grouped_by_domain(domain: str | None, group: str) -> None:
    assert catalog_entry(a_card(domain_name=domain), api_address=API).group_name == group


def test_runs_carry_the_pipelines_id_and_name() -> None:
    card = a_card()

    run_tags = defined(card).job.run_tags

    assert run_tags[PIPELINE_ID_TAG] == str(card.pipeline_id)
    assert run_tags["headrace/pipeline"] == card.name


@pytest.mark.parametrize(
    ("enabled", "status"), [(True, DefaultScheduleStatus.RUNNING), (False, DefaultScheduleStatus.STOPPED)]
)
def test_a_schedule_runs_while_its_pipeline_is_enabled(enabled: bool, status: DefaultScheduleStatus) -> None:
    assert scheduled(a_card(enabled=enabled)).default_status == status


def test_a_disabled_pipeline_keeps_its_job() -> None:
    definitions = defined(a_card(enabled=False))

    assert definitions.job.name
    assert "Disabled" in definitions.job.description


def test_a_schedule_keeps_its_pipelines_time_zone() -> None:
    schedule = scheduled(a_card(schedule="30 2 * * *", timezone="Europe/Paris"))

    assert schedule.cron_schedule == "30 2 * * *"
    assert schedule.execution_timezone == "Europe/Paris"


def test_a_tick_takes_its_slot_in_utc_and_leaves_the_run_to_the_dispatcher() -> None:
    card, jobs = a_card(timezone="Europe/Paris"), FakeJobs()
    jobs.answer = "Some run has this slot."

    tick = evaluated(scheduled(card, jobs), datetime(2026, 7, 1, 14, tzinfo=ZoneInfo("Europe/Paris")))

    assert jobs.taken == [(card.pipeline_id, datetime(2026, 7, 1, 12, tzinfo=UTC))]
    assert not tick.run_requests
    assert tick.skip_message == "Some run has this slot."


def test_a_schedule_that_dagster_refuses_takes_no_other_away() -> None:
    definitions = defined(a_card(schedule="not a cron"))

    assert definitions.schedule is None
    assert definitions.job.name
