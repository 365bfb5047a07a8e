"""BigQuery through Google's own client, against a local server that speaks its API."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from fakes.bigquery import FakeBigQuery, run_bigquery
from outputs import request_for

from headrace.connectors import ConnectorError, Loaded, Rejected, Unauthorized, Unreachable
from headrace.connectors.bigquery.connector import BigQueryDestination
from headrace.connectors.bigquery.load import BigQueryLoad
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.pipeline.document import parse_config
from headrace.pipeline.secrets import mask_secrets

ITEMS = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})


@pytest.fixture
def bigquery() -> Iterator[FakeBigQuery]:
    with run_bigquery() as server:
        yield server


@pytest.fixture
def load(bigquery, tmp_path):
    def run(given: pa.Table, config: dict[str, Any] | None = None, /, **changes: Any) -> BigQueryDestination:
        destination = BigQueryDestination.model_validate(bigquery.config(**(config or {})))
        destination.load(request_for(given, tmp_path, **changes))
        return destination

    return run


def items(bigquery: FakeBigQuery) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in bigquery.rows("FROM raw_data.items ORDER BY ALL")]


def test_a_dataset_that_is_missing_is_made_where_it_is_configured(bigquery, load):
    destination = BigQueryDestination.model_validate(bigquery.config(dataset_location="EU"))

    assert destination.check() == "Dataset my-project.raw_data will be made in EU."
    load(ITEMS, {"dataset_location": "EU"})
    assert destination.check() == "Dataset my-project.raw_data is in EU."


def test_a_stream_replaces_the_table_and_leaves_no_staging_table(bigquery, load):
    load(ITEMS)
    load(ITEMS.slice(1, 1))

    assert items(bigquery) == [(2, None)]
    assert {table for _, table in bigquery.tables} == {"items", "_headrace_loads"}


def test_every_type_arrives_as_it_was(bigquery, load):
    moment = datetime(2024, 1, 15, 10, 0, 0, 123456, UTC)
    values = {
        "flag": True, "large": 2**63 - 1, "ratio": 0.1, "price": Decimal("12345678901234567890.123456789"),
        "day": date(2024, 2, 29), "at": time(23, 59, 59, 999999), "local": moment.replace(tzinfo=None),
        "instant": moment, "token": b"\xff\x00", "text": "é\u0000🙂",
    }  # fmt: skip

    load(pa.Table.from_pylist([values]))

    assert bigquery.rows("FROM raw_data.items") == [values]


def test_what_bigquery_has_no_exact_type_for_is_text_or_a_wider_number(bigquery, load):
    load(pa.table({
        "object": [{"x": [1, None]}], "nothing": pa.nulls(1), "huge": pa.array([2**64 - 1], pa.uint64()),
        "small": pa.array([7], pa.int8()), "Full Name": ["a"], "2nd": ["b"],
    }))  # fmt: skip

    (row,) = bigquery.rows("FROM raw_data.items")
    assert json.loads(row["object"]) == {"x": [1, None]}
    assert (row["nothing"], row["huge"], row["small"]) == (None, 2**64 - 1, 7)
    assert (row["Full_Name"], row["_2nd"]) == ("a", "b")


def test_columns_whose_names_meet_in_bigquery_are_refused(load):
    with pytest.raises(Rejected, match="a_b"):
        load(pa.table({"a b": [1], "a-b": [2]}))


def test_new_rows_are_appended_with_their_cursor(bigquery, load):
    load(ITEMS.slice(0, 2), disposition="append", load_id="one", cursor=2)
    destination = load(ITEMS.slice(2), disposition="append", load_id="two", cursor={"id": 3})

    assert items(bigquery) == [(1, "a"), (2, None), (3, "c")]
    assert destination.last_load("pipeline-1") == Loaded(load_id="two", cursor={"id": 3}, table="items")
    assert destination.last_load("another") is None


def test_a_load_that_was_committed_is_not_done_again(bigquery, load):
    for _ in range(2):
        load(ITEMS, disposition="append", load_id="one")

    assert len(items(bigquery)) == 3


def test_an_attempt_that_wakes_up_late_touches_nothing_of_its_successors(bigquery, load):
    calls = []

    def lost() -> None:
        raise Rejected("The run is another worker's.")

    def wake_up_before_the_commit() -> None:
        calls.append(1)
        if len(calls) == 2:
            with pytest.raises(Rejected):
                load(ITEMS, disposition="append", load_id="one", before_commit=lost)

    load(ITEMS, disposition="append", load_id="one", before_commit=wake_up_before_the_commit)

    assert len(calls) == 2
    assert len(items(bigquery)) == 3


def test_a_load_removes_the_staging_tables_that_killed_ones_left(bigquery, load):
    with pytest.raises(KeyboardInterrupt), mock.patch.object(BigQueryLoad, "_delete_stage"):
        load(
            ITEMS,
            disposition="append",
            load_id="one",
            before_commit=mock.Mock(side_effect=[None, KeyboardInterrupt]),
        )
    after_the_kill = set(bigquery.tables)

    load(ITEMS, disposition="append", load_id="two")

    assert any("_stage_" in table for _, table in after_the_kill)
    assert {table for _, table in bigquery.tables} == {"items", "_headrace_loads"}


def test_rows_are_merged_on_their_key_and_the_last_of_a_key_wins(bigquery, load):
    load(ITEMS, disposition="merge", primary_key=("id",))
    changes = pa.table({"id": [3, 4, 3], "name": ["x", "d", "y"]})

    load(changes, disposition="merge", primary_key=("id",))

    assert items(bigquery) == [(1, "a"), (2, None), (3, "y"), (4, "d")]


def test_a_row_without_its_key_is_refused(bigquery, load):
    with pytest.raises(Rejected, match="primary key"):
        load(pa.table({"id": [1, None]}), disposition="merge", primary_key=("id",))


def test_rows_note_and_cursor_are_one_transaction(bigquery, load):
    load(ITEMS, disposition="append", load_id="one", cursor=3)
    bigquery.rows("ALTER TABLE raw_data._headrace_loads DROP COLUMN rows")

    with pytest.raises(Rejected):
        load(ITEMS, disposition="append", load_id="two", cursor=9)

    assert len(items(bigquery)) == 3
    assert bigquery.rows("SELECT load_id FROM raw_data._headrace_loads") == [{"load_id": "one"}]


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_nothing_is_published_once_the_run_is_not_the_worker_s(bigquery, load, disposition):
    def refuse() -> None:
        raise ConnectorError("The run is no longer this worker's.")

    load(ITEMS)
    with pytest.raises(ConnectorError, match="no longer"):
        load(ITEMS, disposition=disposition, primary_key=("id",), before_commit=refuse)

    assert len(items(bigquery)) == 3


def test_new_columns_are_added_and_integers_widened(bigquery, load):
    load(pa.table({"id": [1], "size": [2]}))

    load(pa.table({"id": [2], "size": [2.5], "extra": ["x"]}), disposition="append")

    assert items(bigquery) == [(1, 2.0, None), (2, 2.5, "x")]


@pytest.mark.parametrize(
    ("held", "given"),
    [([1], ["x"]), ([2**53 + 1], [0.5]), ([0.5], [2**53 + 1]), ([date(2024, 1, 1)], [1])],
)
def test_data_that_does_not_fit_a_column_is_refused_by_the_column_s_name(bigquery, load, held, given):
    load(pa.table({"size": held}))

    with pytest.raises(Rejected, match="'size'"):
        load(pa.table({"size": given}), disposition="append")

    assert len(items(bigquery)) == 1


def test_a_new_table_is_partitioned_and_clustered(bigquery, load):
    table = pa.table({"id": [1], "day": [date(2024, 1, 1)]})
    config = {"time_partitioning": {"type": "DAY", "field": "day"}, "clustering": ["id"]}

    load(table, config)
    load(table, config)

    made = bigquery.tables["raw_data", "items"]
    assert made["timePartitioning"] == {"type": "DAY", "field": "day"}
    assert made["clustering"] == {"fields": ["id"]}
    with pytest.raises(Rejected, match="'nowhere'"):
        load(table, {"clustering": ["nowhere"]})


def test_a_stream_without_columns_empties_the_table(bigquery, load):
    load(ITEMS)

    load(pa.table({}))

    assert items(bigquery) == []


def test_a_large_file_is_uploaded_in_pieces(bigquery, load):
    load(pa.table({"id": range(60_000), "noise": _random_text(60_000)}))

    assert bigquery.uploaded == ["resumable"]
    assert bigquery.rows("SELECT count(*) AS n FROM raw_data.items") == [{"n": 60_000}]


def _random_text(rows: int) -> list[str]:
    source = random.Random(7)
    return [source.randbytes(80).hex() for _ in range(rows)]


def test_jobs_are_waited_for(bigquery, load):
    bigquery.asynchronous = True

    load(ITEMS)

    assert len(items(bigquery)) == 3


def test_a_refused_job_says_what_bigquery_said(bigquery, load):
    load(ITEMS, {"time_partitioning": {"type": "DAY"}})

    with pytest.raises(Rejected, match="partitioning specification"):
        load(ITEMS)


def test_what_passes_is_tried_again(bigquery, load):
    bigquery.fail_next.append(("/datasets/raw_data", 503, "backendError"))

    load(ITEMS)

    assert len(items(bigquery)) == 3


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (403, "accessDenied", Unauthorized),
        (403, "responseTooLarge", Unauthorized),
        (400, "invalid", Rejected),
    ],
)
def test_an_answer_that_is_no_is_told_as_what_it_is(bigquery, status, reason, expected):
    bigquery.fail_next.append(("/datasets/raw_data", status, reason))

    with pytest.raises(expected, match="As planned"):
        BigQueryDestination.model_validate(bigquery.config()).check()


def test_a_key_that_google_does_not_know_is_refused(bigquery):
    key = bigquery.service_account_key()
    other = bigquery.config(authentication={"service_account_key": json.dumps(key | {"private_key": "x"})})

    with pytest.raises(Unauthorized):
        BigQueryDestination.model_validate(other).check()


def test_a_server_that_is_away_is_unreachable(bigquery):
    config = bigquery.config(api_endpoint="http://127.0.0.1:9", limits={"retry_timeout": 0.5})

    with pytest.raises(Unreachable):
        BigQueryDestination.model_validate(config).check()


def test_a_key_s_token_endpoint_must_be_an_allowed_address(bigquery):
    key = bigquery.service_account_key() | {"token_uri": "http://169.254.169.254/token"}
    config = bigquery.config(authentication={"service_account_key": key})

    with pytest.raises(ForbiddenAddress):
        BigQueryDestination.model_validate(config).check()


def test_the_key_is_a_secret_as_text_and_as_an_object(bigquery):
    for key in (bigquery.service_account_key(), json.dumps(bigquery.service_account_key())):
        raw = {
            "name": "p",
            "source": {"name": "dummy", "stream": "creatures"},
            "destination": {
                "name": "bigquery_streaming_v2",
                "config": bigquery.config(
                    authentication={"service_account_key": key}, bq_max_rows_per_request=100
                ),
            },
        }

        parse_config(raw)

        assert "PRIVATE KEY" not in json.dumps(mask_secrets(raw))


def test_private_networks_can_be_closed_to_the_client(bigquery):
    addresses.allow_private_networks(False)
    try:
        with pytest.raises(ForbiddenAddress):
            BigQueryDestination.model_validate(bigquery.config()).check()
    finally:
        addresses.allow_private_networks(True)


def test_temporary_files_are_gone_after_a_load(load, tmp_path: Path):
    load(pa.table({"object": [{"a": 1}]}))

    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
