import base64
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from headrace.encryption.envelope import CannotOpen
from headrace.records import Page, Principal, Role
from headrace.service.domains import Domains
from headrace.service.jobs import Jobs
from headrace.service.pipelines import InvalidPipeline, PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.store.domains import DomainInUse, DomainNameTaken
from headrace.store.pipelines import UnknownDomain
from headrace.store.schema import pipelines
from headrace.store.scoped import PipelineNotFound, RevisionMismatch

SECRET = "pat-na1-5ecret"
MASK = "**********"


def config(**source: Any) -> dict[str, Any]:
    """The contract page's own example, but for the changes of its source."""
    authentication = {"type": "api_key", "params": {"token": SECRET}}
    return {
        "name": "hubspot-contacts",
        "source": {"name": "hubspot", "stream": "contacts", "authentication": authentication} | source,
        "destination": {
            "name": "bigquery",
            "config": {"project_id": "my-project", "dataset": "raw_data"},
        },
    }


def draft(**changes: Any) -> PipelineDraft:
    return replace(PipelineDraft(name="HubSpot to BigQuery", config=config()), **changes)


@pytest.fixture
def owned(platform: Platform) -> Pipelines:
    return Pipelines(platform, platform.owner())


def as_viewer(platform: Platform) -> Pipelines:
    viewer = Principal(
        organization_id=platform.organization_id, token_id=uuid4(), role=Role.VIEWER, reads_secrets=False
    )
    return Pipelines(platform, viewer)


def test_the_page_s_example_is_stored_and_read_back(owned: Pipelines) -> None:
    made = owned.create(draft(schedule="0 */6 * * *"))

    pipeline, read = owned.get_with_config(made.id)

    assert read == config()
    assert (pipeline.source, pipeline.stream, pipeline.destination) == ("hubspot", "contacts", "bigquery")
    assert (pipeline.schedule, pipeline.revision, pipeline.updated_at) == ("0 */6 * * *", 1, None)


def test_the_database_holds_no_secret_in_the_clear(platform: Platform, owned: Pipelines) -> None:
    owned.create(draft())

    with platform.database.read() as connection:
        stored = repr(connection.execute(select(pipelines)).all()).encode()

    assert SECRET.encode() not in stored
    assert base64.b64encode(SECRET.encode()) not in stored


def test_who_may_not_read_secrets_sees_masks(platform: Platform, owned: Pipelines) -> None:
    made = owned.create(draft())

    _, read = as_viewer(platform).get_with_config(made.id)

    assert SECRET not in json.dumps(read)
    assert read["source"]["authentication"]["params"]["token"] == MASK


def test_a_masked_secret_in_a_change_stands_for_the_stored_one(platform: Platform, owned: Pipelines) -> None:
    made = owned.create(draft())
    masked = config(stream="deals", authentication={"type": "api_key", "params": {"token": MASK}})

    changed = owned.update(made.id, {"config": masked})

    assert owned.get_with_config(made.id)[1] == config(stream="deals")
    assert (changed.stream, changed.revision) == ("deals", 2)


def test_every_fault_of_a_draft_is_pointed_to(owned: Pipelines) -> None:
    wrong = draft(config=config(stream="nothing"), schedule="0 0 31 2 *", timezone="Mars/Olympus")

    with pytest.raises(InvalidPipeline) as refused:
        owned.create(wrong)

    pointers = {fault.pointer for fault in refused.value.errors}
    assert pointers == {"/schedule", "/timezone", "/config/source/stream"}


def test_a_change_that_is_refused_changes_nothing(owned: Pipelines) -> None:
    made = owned.create(draft())

    with pytest.raises(InvalidPipeline):
        owned.update(made.id, {"name": "Renamed", "schedule": "not a cron"})
    with pytest.raises(RevisionMismatch):
        owned.update(made.id, {"name": "Renamed"}, if_revision=7)

    assert owned.get(made.id) == made


def test_what_a_change_leaves_out_stays(owned: Pipelines) -> None:
    made = owned.create(draft(schedule="@hourly", tags=("b", "a"), timezone="Europe/Paris"))

    changed = owned.update(made.id, {"enabled": False})

    assert (changed.schedule, changed.tags, changed.timezone) == ("@hourly", ("b", "a"), "Europe/Paris")
    assert not changed.enabled
    assert owned.update(made.id, {"schedule": None}).schedule is None
    assert owned.get_with_config(made.id)[1] == config()


def test_a_copy_shares_nothing_that_runs(owned: Pipelines) -> None:
    made = owned.create(draft(schedule="@daily", tags=("crm",)))

    first, second = owned.duplicate(made.id), owned.duplicate(made.id)
    named = owned.duplicate(made.id, "Another")

    assert [copy.name for copy in (first, second, named)] == [
        "HubSpot to BigQuery (Copy)",
        "HubSpot to BigQuery (Copy 2)",
        "Another",
    ]
    assert (first.enabled, first.schedule, first.tags) == (False, "@daily", ("crm",))
    assert owned.get_with_config(first.id)[1] == config()


def test_a_copy_of_a_long_name_fits(owned: Pipelines) -> None:
    made = owned.create(draft(name="x" * 200))

    assert owned.duplicate(made.id).name == "x" * 193 + " (Copy)"
    assert owned.duplicate(made.id).name == "x" * 191 + " (Copy 2)"


def test_a_deleted_pipeline_is_gone_and_its_secrets_with_it(platform: Platform, owned: Pipelines) -> None:
    made = owned.create(draft(tags=("crm",)))

    owned.delete(made.id)

    with pytest.raises(PipelineNotFound):
        owned.get(made.id)
    with pytest.raises(PipelineNotFound):
        owned.delete(made.id)
    with platform.database.read() as connection:
        assert connection.execute(select(pipelines.c.config)).scalar_one() is None


def test_a_config_moved_to_another_row_opens_nothing(platform: Platform, owned: Pipelines) -> None:
    mine = owned.create(draft())
    other = owned.create(draft(config=config(stream="deals")))
    with platform.database.write() as connection:
        stolen = connection.execute(select(pipelines.c.config).where(pipelines.c.id == other.id)).scalar_one()
        connection.execute(update(pipelines).where(pipelines.c.id == mine.id).values(config=stolen))

    with pytest.raises(CannotOpen):
        owned.get_with_config(mine.id)


def test_lists_are_filtered_paged_and_newest_first(platform: Platform, owned: Pipelines) -> None:
    domain = Domains(platform, platform.owner()).create({"name": "Marketing"})
    first = owned.create(draft(name="100% Alpha", domain_id=domain.id))
    second = owned.create(draft(name="Beta", config=config(stream="deals"), tags=("crm",), enabled=False))

    def ids(**filters: Any) -> list[UUID]:
        return [pipeline.id for pipeline in owned.list(Page(), **filters)[0]]

    assert ids() == [second.id, first.id]
    assert ids(domain_id=domain.id) == ids(query="0% aL") == ids(enabled=True) == [first.id]
    assert ids(tag="crm") == ids(enabled=False) == [second.id]
    assert ids(query="%") == [first.id]
    assert ids(tag="nothing") == []
    page, total = owned.list(Page(limit=1, offset=1))
    assert ([pipeline.id for pipeline in page], total) == ([first.id], 2)
    assert page[0].domain_name == "Marketing"


def test_a_domain_with_pipelines_stays(platform: Platform, owned: Pipelines) -> None:
    domains = Domains(platform, platform.owner())
    domain = domains.create({"name": "Marketing", "color": "#aabbcc"})
    made = owned.create(draft(domain_id=domain.id))

    with pytest.raises(DomainInUse):
        domains.delete(domain.id)
    with pytest.raises(DomainNameTaken):
        domains.create({"name": "Marketing"})
    owned.delete(made.id)
    domains.delete(domain.id)

    with pytest.raises(UnknownDomain):
        owned.create(draft(domain_id=domain.id))


def test_a_renamed_domain_shows_in_the_catalogue_of_jobs(platform: Platform, owned: Pipelines) -> None:
    domains, jobs = Domains(platform, platform.owner()), Jobs(platform)
    domain = domains.create({"name": "Marketing"})
    made = owned.create(draft(domain_id=domain.id))
    before, _, _ = jobs.changed_after(0)

    domains.update(domain.id, {"name": "Growth"})

    _, changed, gone = jobs.changed_after(before)
    assert [(card.pipeline_id, card.domain_name) for card in changed] == [(made.id, "Growth")]
    assert gone == []
