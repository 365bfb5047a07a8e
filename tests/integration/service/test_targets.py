"""A table has one owner: of two pipelines that would fill one table, the second is refused."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from headrace.records import TableUse
from headrace.service.pipelines import InvalidPipeline, PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.service.targets import tell_targets
from headrace.store.schema import pipelines
from headrace.store.targets import TableTaken, Target, UntoldTargets

INCREMENTAL = {"sync_mode": "incremental", "cursor_field": "updated_at"}


def draft(name: str = "Orders", *, source: dict[str, Any] | None = None, **destination: Any) -> PipelineDraft:
    """A pipeline into one table of one DuckDB file, but for the changes."""
    use = {key: destination.pop(key) for key in ("shared", "adopt") if key in destination}
    table = {"path": "/data/warehouse.duckdb", "table": "orders"} | destination
    config = {
        "name": name,
        "source": {"name": "dummy", "stream": "creatures", **INCREMENTAL} | (source or {}),
        "destination": {"name": "duckdb", "config": table, **use},
    }
    return PipelineDraft(name=name, config=config)


@pytest.fixture
def owned(platform: Platform) -> Pipelines:
    return Pipelines(platform, platform.owner())


def test_a_second_pipeline_into_a_table_is_refused_with_the_first_one_s_name(owned: Pipelines) -> None:
    first = owned.create(draft("First"))

    with pytest.raises(TableTaken, match="'First'") as refused:
        owned.create(draft("Second"))

    assert refused.value.context == {"pipeline_id": str(first.id)}


@pytest.mark.parametrize(
    "other",
    [
        {"table": "customers"},
        {"schema": "raw"},
        {"path": "/data/other.duckdb"},
        {"table_prefix": "raw_"},
    ],
)
def test_another_table_is_free(owned: Pipelines, other: dict[str, Any]) -> None:
    owned.create(draft("First"))

    owned.create(draft("Second", **other))


@pytest.mark.parametrize(
    "same",
    [
        {"path": "/data/../data/warehouse.duckdb"},
        {"table": "ORDERS"},
        {"schema": "main"},
        {"table": None, "table_prefix": ""},
    ],
)
def test_a_table_is_the_same_whatever_it_is_called(owned: Pipelines, same: dict[str, Any]) -> None:
    first = draft("First") if same.get("table", "x") else draft("First", table="creatures")
    owned.create(first)

    with pytest.raises(TableTaken):
        owned.create(draft("Second", **same))


def test_one_database_by_url_and_by_fields_is_one(owned: Pipelines) -> None:
    by_url = {"url": "postgresql://loader:s3cret@DB.example.org:5432/dwh"}
    by_fields = {"host": "db.example.org", "database": "dwh", "user": "other"}
    config = dict(draft().config)

    def into(place: dict[str, Any]) -> PipelineDraft:
        destination = {"name": "postgres", "config": {"table": "orders"} | place}
        return replace(draft(), config=config | {"destination": destination})

    owned.create(into(by_url))

    with pytest.raises(TableTaken):
        owned.create(into(by_fields))
    owned.create(into(by_fields | {"port": 5433}))


def test_a_table_can_be_shared_by_pipelines_that_append_or_merge(owned: Pipelines) -> None:
    owned.create(draft("First"))

    owned.create(draft("Second", shared=True))

    with pytest.raises(TableTaken):
        owned.create(draft("Third", source={"sync_mode": "full_refresh", "cursor_field": None}))


def test_a_full_refresh_shares_no_table(owned: Pipelines) -> None:
    whole = draft(source={"sync_mode": "full_refresh", "cursor_field": None}, shared=True)

    with pytest.raises(InvalidPipeline) as refused:
        owned.create(whole)

    assert [fault.code for fault in refused.value.errors] == ["destination.shared_replaces"]


def test_a_pipeline_that_shares_its_table_cannot_become_a_full_refresh(owned: Pipelines) -> None:
    first = owned.create(draft("First"))
    owned.create(draft("Second", shared=True))
    whole = draft("First", source={"sync_mode": "full_refresh", "cursor_field": None})

    with pytest.raises(TableTaken, match="'Second'"):
        owned.update(first.id, {"config": whole.config})


def test_a_table_can_be_taken_over_on_purpose(owned: Pipelines) -> None:
    first = owned.create(draft("First"))

    owned.create(draft("Second", adopt=True))

    with pytest.raises(TableTaken, match="'Second'"):
        owned.update(first.id, {"config": draft("First").config})


def test_a_deleted_pipeline_leaves_its_table(owned: Pipelines) -> None:
    owned.delete(owned.create(draft("First")).id)

    owned.create(draft("Second"))


def test_a_change_into_another_s_table_is_refused(owned: Pipelines) -> None:
    owned.create(draft("First"))
    second = owned.create(draft("Second", table="other"))

    with pytest.raises(TableTaken):
        owned.update(second.id, {"config": draft("Second").config})
    owned.update(second.id, {"config": draft("Second", table="third").config, "enabled": False})


def test_a_copy_neither_runs_nor_is_enabled_into_its_original_s_table(
    platform: Platform, owned: Pipelines
) -> None:
    original = owned.create(draft("Original"))
    copy = owned.duplicate(original.id)
    runs = Runs(platform, platform.owner())

    with pytest.raises(TableTaken, match="'Original'"):
        owned.update(copy.id, {"enabled": True})
    with pytest.raises(TableTaken, match="'Original'"):
        runs.trigger(copy.id)
    with pytest.raises(TableTaken, match="'Original'"):
        owned.update(copy.id, {"config": draft("Copy").config})
    owned.update(copy.id, {"name": "Renamed"})
    runs.trigger(original.id)  # the original is not bothered


def test_a_copy_with_a_table_of_its_own_runs(platform: Platform, owned: Pipelines) -> None:
    copy = owned.duplicate(owned.create(draft("Original")).id)

    owned.update(copy.id, {"config": draft("Copy", table="copy").config, "enabled": True})

    Runs(platform, platform.owner()).trigger(copy.id)


def test_a_copy_takes_the_table_once_its_original_is_gone(platform: Platform, owned: Pipelines) -> None:
    original = owned.create(draft("Original"))
    copy = owned.duplicate(original.id)
    owned.delete(original.id)

    owned.update(copy.id, {"enabled": True})

    with pytest.raises(TableTaken):
        owned.create(draft("Third"))


def test_a_copy_does_not_take_over_what_its_original_has_taken_over(owned: Pipelines) -> None:
    copy = owned.duplicate(owned.create(draft("Original", adopt=True)).id)

    assert "adopt" not in owned.get_with_config(copy.id)[1]["destination"]
    with pytest.raises(TableTaken):
        owned.update(copy.id, {"enabled": True})


def test_a_copy_of_what_an_older_release_has_stored_is_held_back_too(
    platform: Platform, owned: Pipelines
) -> None:
    original = owned.create(draft("Original"))
    with platform.database.write() as connection:
        connection.execute(update(pipelines).values(target=None))

    copy = owned.duplicate(original.id)

    with pytest.raises(TableTaken):
        owned.update(copy.id, {"enabled": True})


def test_the_tables_of_an_older_release_s_pipelines_are_known_once_the_platform_has_started(
    platform: Platform, owned: Pipelines
) -> None:
    old = [owned.create(draft("Old")), owned.create(draft("Other", table="other"))]
    logging = dict(draft(source={"sync_mode": "full_refresh", "cursor_field": None}).config)
    owned.create(replace(draft("Logged"), config=logging | {"destination": {"name": "logger"}}))
    with platform.database.write() as connection:
        before = connection.execute(select(pipelines.c.id, pipelines.c.target)).all()
        connection.execute(update(pipelines).values(target=None))

    with ThreadPoolExecutor(2) as pool:  # as of two processes that start at once
        told = sum(pool.map(tell_targets, [platform, platform]))

    with platform.database.read() as connection:
        assert sorted(connection.execute(select(pipelines.c.id, pipelines.c.target))) == sorted(before)
    assert (told, tell_targets(platform)) == (3, 0)
    with pytest.raises(TableTaken, match="'Old'"):
        owned.create(draft("New"))
    assert owned.get(old[0].id).revision == 1


def test_a_pipeline_that_cannot_be_opened_keeps_no_platform_from_starting(
    platform: Platform, owned: Pipelines
) -> None:
    broken, _ = owned.create(draft("Broken")), owned.create(draft("Whole", table="whole"))
    with platform.database.write() as connection:
        connection.execute(update(pipelines).values(target=None))
        damaged = pipelines.c.id == broken.id
        connection.execute(update(pipelines).where(damaged).values(config=b"damaged"))

    assert [tell_targets(platform), tell_targets(platform)] == [1, 0]
    with pytest.raises(TableTaken, match="'Whole'"):
        owned.create(draft("New", table="whole"))


def test_a_pipeline_that_is_changed_while_its_table_is_looked_for_keeps_the_newer_one(
    platform: Platform, owned: Pipelines
) -> None:
    changed = owned.create(draft("Changed"))
    with platform.database.write() as connection:
        connection.execute(update(pipelines).values(target=None))
    store = UntoldTargets(platform.database)
    [untold] = store.after(None, 10)
    owned.update(changed.id, {"config": draft("Changed", table="newer").config})

    assert store.tell([(untold, Target(hash="older", use=TableUse.OWN))]) == 0
    owned.create(draft("Free"))


def test_of_two_that_are_stored_at_once_one_is_refused(owned: Pipelines) -> None:
    def store(name: str) -> str | None:
        try:
            return owned.create(draft(name)).name
        except TableTaken:
            return None

    with ThreadPoolExecutor(4) as pool:
        stored = [name for name in pool.map(store, "ABCD") if name]

    assert len(stored) == 1


def test_pipelines_that_only_log_are_free(owned: Pipelines) -> None:
    whole = draft(source={"sync_mode": "full_refresh", "cursor_field": None})
    config = dict(whole.config) | {"destination": {"name": "logger"}}

    first, second = (owned.create(replace(draft(name), config=config)) for name in ("First", "Second"))

    assert owned.update(owned.duplicate(first.id).id, {"enabled": True}).enabled
    assert second.revision == 1


def test_the_table_s_address_is_not_stored_in_the_clear(platform: Platform, owned: Pipelines) -> None:
    owned.create(draft())

    with platform.database.read() as connection:
        stored = repr(connection.execute(select(pipelines)).all())

    assert "warehouse" not in stored
