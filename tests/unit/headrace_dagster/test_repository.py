from dataclasses import replace
from uuid import UUID

import pytest
from dagster import DagsterInvariantViolationError, GraphDefinition, RepositoryDefinition, op
from fakes.stored_jobs import FakeJobs, a_card

from headrace.naming import job_name, schedule_name
from headrace.records import JobCard
from headrace_dagster.pipelines import define
from headrace_dagster.repository import LiveRepository, PipelineDefinitions

OTHER = UUID(int=1).hex  # of no pipeline here


@op
def nothing() -> None:
    pass


class Location:
    """A live repository over fake jobs that counts what it builds."""

    def __init__(self, *cards: JobCard) -> None:
        self.jobs = FakeJobs(*cards)
        self.built: list[JobCard] = []
        self.repository = LiveRepository(lambda: self.jobs, self._build)

    def _build(self, card: JobCard) -> PipelineDefinitions:
        self.built.append(card)
        graph = GraphDefinition(name="graph", node_defs=[nothing])
        return define(card, graph=graph, take_slot=self.jobs.take_slot, api_address="http://localhost:8000")


def test_every_stored_pipeline_is_a_job_with_a_schedule() -> None:
    first, second = a_card(), a_card()

    repository = Location(first, second).repository

    assert set(repository.get_job_names()) == {job_name(card.pipeline_id) for card in (first, second)}
    assert set(repository.get_schedule_names()) == {
        schedule_name(card.pipeline_id) for card in (first, second)
    }


def test_a_pipeline_without_a_schedule_has_a_job_alone() -> None:
    card = a_card(schedule=None)

    repository = Location(card).repository

    assert repository.has_job(job_name(card.pipeline_id))
    assert not repository.has_schedule(schedule_name(card.pipeline_id))
    assert repository.get_schedule_names() == []


def test_a_created_pipeline_is_seen_at_once() -> None:
    location = Location(a_card())
    location.repository.get_all_jobs()
    created = a_card()

    location.jobs.put(created)

    assert job_name(created.pipeline_id) in location.repository.get_job_names()
    assert location.repository.has_job(job_name(created.pipeline_id))


def test_a_changed_pipeline_is_built_anew_and_no_other() -> None:
    unchanged, card = a_card(), a_card()
    location = Location(unchanged, card)
    kept = location.repository.get_job(job_name(unchanged.pipeline_id))
    location.repository.get_all_jobs()
    location.built.clear()
    changed = replace(card, name="Renamed", revision=2)

    location.jobs.put(changed)
    jobs = {job.name: job for job in location.repository.get_all_jobs()}

    assert location.built == [changed]
    assert "Renamed" in jobs[job_name(card.pipeline_id)].description
    assert jobs[kept.name] is location.repository.get_job(kept.name)


def test_a_domain_that_was_renamed_shows_in_its_pipelines() -> None:
    card = a_card(domain_name="Marketing")
    location = Location(card)
    location.repository.get_all_jobs()

    location.jobs.put(replace(card, domain_name="Growth"))

    assert "Growth" in location.repository.get_job(job_name(card.pipeline_id)).description


def test_a_deleted_pipeline_is_gone_at_once() -> None:
    card = a_card()
    location = Location(card)
    location.repository.get_all_jobs()

    location.jobs.remove(card.pipeline_id)

    assert not location.repository.has_job(job_name(card.pipeline_id))
    assert location.repository.get_job_names() == []
    with pytest.raises(DagsterInvariantViolationError):
        location.repository.get_job(job_name(card.pipeline_id))


def test_nothing_is_built_twice_while_nothing_changes() -> None:
    location = Location(a_card(), a_card())

    for _ in range(3):
        location.repository.get_all_jobs()
        location.repository.get_all_schedules()

    assert len(location.built) == 2


def test_a_look_up_by_name_builds_one_job_of_many() -> None:
    cards = [a_card() for _ in range(50)]
    location = Location(*cards)

    location.repository.get_job(job_name(cards[7].pipeline_id))

    assert location.built == [cards[7]]


@pytest.mark.parametrize("name", ["__ASSET_JOB", "p_", "p_zz", f"p_{OTHER}", f"p_{OTHER}_schedule"])
def test_other_names_are_no_jobs(name: str) -> None:
    repository = Location(a_card()).repository

    assert not repository.has_job(name)


def test_a_schedules_name_is_no_job_and_the_other_way_round() -> None:
    card = a_card()
    repository = Location(card).repository

    assert not repository.has_job(schedule_name(card.pipeline_id))
    assert not repository.has_schedule(job_name(card.pipeline_id))


def test_dagster_takes_the_repository_as_it_is() -> None:
    card = a_card()

    definition = RepositoryDefinition("__repository__", repository_data=Location(card).repository)
    definition.load_all_definitions()

    assert definition.job_names == [job_name(card.pipeline_id)]
    assert definition.get_schedule_def(schedule_name(card.pipeline_id)).cron_schedule == "0 * * * *"
