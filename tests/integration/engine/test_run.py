"""A run: all or nothing, stopped when told to, and silent about secrets."""

import logging
from collections.abc import Iterator
from typing import ClassVar

import pyarrow.parquet as pq
import pytest
from pydantic import Field, SecretStr

from headrace.connectors import (
    Checkpoint,
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    ReadRequest,
    Rejected,
    Source,
    Stream,
    SyncMode,
)
from headrace.engine import run
from headrace.engine.job import EngineJob
from headrace.engine.reporting import ConnectorCrashed
from headrace.engine.run import run_pipeline
from headrace.errors import HeadraceError
from headrace.pipeline.document import PipelineConfig

SECRET = "hunter2-hunter2"


class PagesSource(Source):
    """Yields what it is given; an exception among the pages is raised."""

    name: ClassVar[str] = "pages"
    title: ClassVar[str] = "Pages"

    token: SecretStr = SecretStr(SECRET)
    pages: list = Field([])
    primary_key: tuple[str, ...] = ()

    @classmethod
    def known_streams(cls) -> tuple[Stream, ...]:
        return (Stream(name="things"),)

    def describe(self, stream: str) -> Stream:
        return Stream(name=stream, primary_key=self.primary_key)

    def read(self, request: ReadRequest) -> Iterator:
        for page in self.pages:
            if isinstance(page, Exception):
                raise page
            request.log.info("page read with %s", self.token.get_secret_value())
            yield page


class KeepingDestination(Destination):
    """Keeps the requests and rows of its loads."""

    name: ClassVar[str] = "keeping"
    title: ClassVar[str] = "Keeping"

    loads: list = Field([])
    last: Loaded | None = None
    hides_errors: bool = False

    def load(self, request: LoadRequest) -> LoadResult:
        rows = [row for batch in request.output.batches() for row in batch.to_pylist()]
        try:
            request.before_commit()
        except Exception:
            if self.hides_errors:
                raise Rejected("Something went wrong.") from None
            raise
        self.loads.append((request, rows))
        return LoadResult(rows=len(rows), location="memory")

    def last_load(self, pipeline_id: str) -> Loaded | None:
        return self.last


class Stopped(Exception):
    """What the platform raises in a cancelled run."""


LOG = logging.getLogger("test.run")


@pytest.fixture
def job(tmp_path):
    def make(**changes):
        values = {"output_path": tmp_path / "output.parquet", "pipeline_id": "p", "run_id": "r", "log": LOG}
        return EngineJob(**values | changes)

    LOG.setLevel(logging.INFO)
    yield make
    LOG.setLevel(logging.NOTSET)


def config(pages: list, *, sync_mode: SyncMode = SyncMode.FULL_REFRESH, **changes) -> PipelineConfig:
    keys = changes.pop("primary_key", ())
    max_iterations = changes.pop("max_iterations", None)
    return PipelineConfig(
        name="things",
        source=PagesSource.model_construct(token=SecretStr(SECRET), pages=pages, primary_key=keys),
        source_name="pages",
        stream="things",
        sync_mode=sync_mode,
        cursor_field="id" if sync_mode is SyncMode.INCREMENTAL else None,
        max_iterations=max_iterations,
        destination=KeepingDestination.model_construct(
            **{"loads": [], "last": None, "hides_errors": False} | changes
        ),
        destination_name="keeping",
        transforms=(),
        unused=(),
    )


def test_the_rows_that_were_read_are_in_the_file_and_in_the_destination(job):
    pipeline = config([[{"id": 1}], [{"id": 2, "late": "x"}]])

    result = run_pipeline(pipeline, job())

    [(request, rows)] = pipeline.destination.loads
    assert rows == [{"id": 1, "late": None}, {"id": 2, "late": "x"}]
    assert request.disposition == "replace"
    assert pq.read_table(request.output.path).to_pylist() == rows
    assert (result.rows, result.location) == (2, "memory")
    assert result.preview == [{"id": "1", "late": None}, {"id": "2", "late": "x"}]


def test_a_source_that_fails_in_the_middle_publishes_nothing(job, tmp_path):
    pipeline = config([[{"id": 1}], Rejected("The server went away.")])

    with pytest.raises(Rejected):
        run_pipeline(pipeline, job())

    assert pipeline.destination.loads == []
    assert list(tmp_path.iterdir()) == []


def test_an_unforeseen_error_is_told_without_its_text(job):
    with pytest.raises(ConnectorCrashed) as caught:
        run_pipeline(config([ValueError(f"cannot parse {SECRET}")]), job())

    assert caught.value.detail.startswith("The connector pages stopped with ValueError at test_run.py:")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_secret_is_masked_in_the_text_of_a_foreseen_error(job):
    with pytest.raises(HeadraceError) as caught:
        run_pipeline(config([Rejected(f"token {SECRET} refused")]), job())

    assert str(caught.value) == caught.value.detail == "token ********** refused"


def test_a_secret_is_masked_in_what_a_connector_logs(job, caplog):
    run_pipeline(config([[{"id": 1}]]), job())

    assert "page read with **********" in caplog.text
    assert SECRET not in caplog.text


def test_a_secret_is_masked_in_the_preview_and_long_values_are_cut(job):
    rows = [{"id": 1, "note": f"{'x' * 190} {SECRET}"}, {"id": 2, "note": "y" * 300}]

    result = run_pipeline(config([rows]), job())

    assert SECRET[:5] not in str(result.preview)
    assert result.preview[1]["note"] == "y" * 200


def test_a_run_that_is_stopped_while_it_reads_publishes_nothing(job, tmp_path):
    pipeline = config([[{"id": 1}], [{"id": 2}]])

    def check():
        raise Stopped

    with pytest.raises(Stopped):
        run_pipeline(pipeline, job(check=check))

    assert pipeline.destination.loads == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hides_errors", [False, True])
def test_a_run_that_is_stopped_before_the_commit_says_so_whatever_the_destination_says(job, hides_errors):
    pipeline = config([[{"id": 1}]], hides_errors=hides_errors)

    def before_commit():
        raise Stopped

    with pytest.raises(Stopped):
        run_pipeline(pipeline, job(before_commit=before_commit))

    assert pipeline.destination.loads == []


def test_an_empty_stream_replaces_what_the_destination_had(job):
    pipeline = config([])

    run_pipeline(pipeline, job())

    assert [rows for _, rows in pipeline.destination.loads] == [[]]


def codes(job) -> list[str]:
    return [each.code for each in job.tally.receipt().warnings]


def test_a_stream_that_becomes_empty_is_warned_of(job):
    emptied = job(rows_before=3)

    run_pipeline(config([]), emptied)

    assert codes(emptied) == ["load.table_emptied"]


def test_a_trial_that_leaves_pages_out_says_so(job):
    cut, whole = job(), job()

    run_pipeline(config([[{"id": 1}], [{"id": 2}]], max_iterations=1), cut)
    cut.output_path.unlink()
    run_pipeline(config([[{"id": 1}]], max_iterations=1), whole)

    assert codes(cut) == ["source.max_iterations"]
    assert codes(whole) == []


def test_a_preview_that_cannot_be_made_fails_no_run(job, monkeypatch):
    def fail(*arguments: object) -> None:
        raise ValueError("too deep")

    monkeypatch.setattr(run, "preview", fail)

    result = run_pipeline(config([[{"id": 1}]]), job())

    assert (result.rows, result.preview) == (1, [])


def test_a_trial_reads_only_so_many_pages(job):
    assert run_pipeline(config([[{"id": 1}], [{"id": 2}], [{"id": 3}]], max_iterations=2), job()).rows == 2


def test_progress_tells_both_phases(job):
    seen = []

    result = run_pipeline(config([[{"id": 1}]]), job(progress=seen.append))

    assert {(progress.phase, progress.rows) for progress in seen} == {("extract", 1), ("load", 0)}
    assert {progress.bytes for progress in seen} == {result.bytes}


def test_an_incremental_run_stores_the_highest_cursor_that_it_loaded(job):
    pipeline = config([[{"id": 3}, {"id": 7}], [{"id": 5}]], sync_mode=SyncMode.INCREMENTAL)

    result = run_pipeline(pipeline, job())

    [(request, _)] = pipeline.destination.loads
    assert (request.disposition, request.cursor["value"]) == ("append", 7)
    assert request.cursor == result.cursor


def test_an_incremental_run_merges_on_the_primary_key(job):
    pipeline = config([[{"id": 1}]], sync_mode=SyncMode.INCREMENTAL, primary_key=("id",))

    run_pipeline(pipeline, job())

    [(request, _)] = pipeline.destination.loads
    assert (request.disposition, request.primary_key) == ("merge", ("id",))


def test_an_incremental_run_with_nothing_new_leaves_the_destination_and_the_cursor(job):
    pipeline = config([], sync_mode=SyncMode.INCREMENTAL, last=Loaded(load_id="before", cursor=7))

    result = run_pipeline(pipeline, job())

    assert pipeline.destination.loads == []
    assert result.cursor == 7


def test_a_checkpoint_is_the_cursor_of_a_source_that_gives_them(job):
    pipeline = config([[{"id": 1}], Checkpoint(cursor={"page": 2})], sync_mode=SyncMode.INCREMENTAL)

    assert run_pipeline(pipeline, job()).cursor == {"page": 2}


def test_an_incremental_run_without_its_cursor_field_fails(job):
    with pytest.raises(HeadraceError) as caught:
        run_pipeline(config([[{"name": "x"}]], sync_mode=SyncMode.INCREMENTAL), job())

    assert caught.value.code == "source.no_cursor"


def test_a_trial_in_no_order_is_refused_where_the_next_run_would_append_its_rows_again(job):
    pages = [[{"id": 5}], [{"id": 7}], [{"id": 1}]]
    pipeline = config(pages, sync_mode=SyncMode.INCREMENTAL, max_iterations=2)

    with pytest.raises(HeadraceError) as caught:
        run_pipeline(pipeline, job())

    assert (caught.value.code, pipeline.destination.loads) == ("source.cut_short", [])


def test_a_trial_in_no_order_moves_no_cursor_where_rows_are_merged(job):
    pages = [[{"id": 5}], [{"id": 7}], [{"id": 1}]]
    pipeline = config(pages, sync_mode=SyncMode.INCREMENTAL, max_iterations=2, primary_key=("id",))

    result = run_pipeline(pipeline, job())

    [(request, rows)] = pipeline.destination.loads
    assert (rows, request.cursor, result.cursor) == ([{"id": 5}, {"id": 7}], None, None)


def test_a_trial_goes_on_behind_a_checkpoint(job):
    pages = [[{"id": 5}], Checkpoint(cursor=5), [{"id": 7}]]
    pipeline = config(pages, sync_mode=SyncMode.INCREMENTAL, max_iterations=1)

    result = run_pipeline(pipeline, job())

    assert (result.rows, result.cursor["value"]) == (1, 5)


@pytest.mark.parametrize("rows", [[{"id": 1, "k": "a"}, {"id": 2, "k": None}], [{"id": 1, "k": None}] * 2])
def test_a_row_without_its_primary_key_is_refused_by_its_number_and_counted(job, rows):
    pipeline = config([rows], sync_mode=SyncMode.INCREMENTAL, primary_key=("id", "k"))
    refused = job()

    with pytest.raises(
        HeadraceError, match=r"Row \d of the output has no value in its primary key"
    ) as caught:
        run_pipeline(pipeline, refused)

    number = sum(row["k"] is None for row in rows)
    assert (caught.value.code, pipeline.destination.loads) == ("run.no_key_value", [])
    assert refused.tally.receipt().rejected == number
