"""Files as a destination: partitions that others can read, sets that grow, and what a kill leaves."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outputs import request_for
from pydantic import ValidationError
from s3_server import S3Server

from headrace.connectors import MovedOn, Rejected, SchemaConflict, TableOwned
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.file.folder import LocalFolder
from headrace.connectors.file.records import tag
from headrace.connectors.kit.stores import object_store

ITEMS = pa.table({
    "id": [1, 2, 3, 4, 5],
    "country": ["DE", "F/R", None, "DE", ".."],
    "day": [date(2024, 1, 31), date(2024, 1, 31), date(2024, 2, 1), None, date(2024, 1, 31)],
})  # fmt: skip
_KILLED = """
import json, os, sys
from pathlib import Path
import pyarrow as pa
from outputs import request_for
from headrace.connectors.file import folder as file_folder
from headrace.connectors.file.connector import FileDestination

config, stage, load_id, disposition, folder = json.loads(sys.argv[1])
calls = []
def before_commit():
    calls.append(1)
    if stage == "before the record" and len(calls) == 2:
        os._exit(9)
for kind in (file_folder.LocalFolder, file_folder.StoreFolder):
    def delete(self, names, own=kind.delete):
        names = list(names)
        if stage == "after the record" and names:
            os._exit(9)
        own(self, names)
    kind.delete = delete
rows = pa.table({"id": [4, 5], "part": ["a", "b"]})
FileDestination.model_validate(config).load(
    request_for(rows, Path(folder), load_id=load_id, disposition=disposition, incremental=True,
                cursor=5, before_commit=before_commit)
)
"""


def load(folder: Path, work: Path, rows: pa.Table = ITEMS, /, **changes: Any) -> FileDestination:
    config = {name: changes.pop(name) for name in ("format", "partition_by") if name in changes}
    destination = FileDestination.model_validate({"path": str(folder), **config})
    destination.load(request_for(rows, work, **changes))
    return destination


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize(("form", "reader"), [("parquet", "parquet"), ("csv", "csv"), ("jsonl", "json")])
def test_partitions_are_read_by_others_with_the_values_of_their_folders(out, work, form, reader):
    load(out, work, format=form, partition_by=["country", "day"])

    with duckdb.connect() as connection:
        rows = connection.sql(
            f"FROM read_{reader}('{out}/items/**/*.{form}', hive_partitioning = true,"
            " hive_types = {'country': VARCHAR, 'day': DATE}) SELECT id, country, day ORDER BY id"
        ).fetchall()
    assert rows == list(zip(*(column.to_pylist() for column in ITEMS.columns), strict=True))
    assert (out / "items" / "country=F%2FR" / "day=2024-01-31").is_dir()
    assert (out / "items" / "country=__HIVE_DEFAULT_PARTITION__").is_dir()


def test_values_that_name_folders_are_written_as_others_write_them(out, work):
    moment = datetime(2024, 1, 31, 10, 0, tzinfo=UTC)
    rows = pa.table({"id": [1], "flag": [True], "at": [moment], "n": [-5], "text": ["a b=%\u00e9"]})

    load(out, work, rows, partition_by=["flag", "at", "n", "text"])

    (path,) = (out / "items").rglob("*.parquet")
    assert path.relative_to(out / "items").parts[:-1] == (
        "flag=true", "at=2024-01-31T10%3A00%3A00Z", "n=-5", "text=a b%3D%25%C3%A9",
    )  # fmt: skip
    assert pq.read_schema(path).names == ["id"]


def test_many_partitions_take_few_open_files_and_lose_no_row(out, work):
    rows = pa.table({"id": range(200_000), "part": [number * 7919 % 500 for number in range(200_000)]})

    load(out, work, rows, partition_by=["part"])

    with duckdb.connect() as connection:
        found = connection.sql(
            f"FROM read_parquet('{out}/items/**/*.parquet', hive_partitioning = true)"
            " SELECT count(*), count(DISTINCT id), sum((id * 7919 % 500 <> part)::INT)"
        ).fetchall()
    assert found == [(200_000, 200_000, 0)]


@pytest.mark.parametrize(
    ("rows", "columns", "detail"),
    [
        (ITEMS, ["nothing"], "no column 'nothing'"),
        (ITEMS, ["id", "country", "day"], "nothing is left"),
        (pa.table({"id": [1], "list": [[1]]}), ["list"], "list"),
        (pa.table({"id": [1], "part": ["x" * 300]}), ["part"], "too long"),
        (pa.table({"id": range(10_001), "part": range(10_001)}), ["part"], "more than 10,000"),
    ],
)
def test_rows_that_cannot_be_partitioned_are_refused_and_nothing_is_published(
    out, work, rows, columns, detail
):
    with pytest.raises(Rejected, match=detail):
        load(out, work, rows, partition_by=columns)

    assert not list(out.rglob("*"))


def test_no_name_leads_out_of_the_folder(out, work):
    odd = {"table": "../../stream", "load_id": "../load", "pipeline_id": "../pipeline"}
    destination = load(out, work, **odd, disposition="append")

    assert destination.last_load("../pipeline").load_id == "../load"
    assert {path.parent for path in work.parent.rglob("*") if path.is_file()} == {
        work, out / "_headrace", out / "_headrace" / "owners", out / "_.._stream",
    }  # fmt: skip


def test_what_readers_cannot_put_together_is_refused_by_the_column_s_name(out, work):
    load(out, work, pa.table({"a": [1], "b": ["x"]}), disposition="append", load_id="1")
    load(out, work, pa.table({"a": ["x"], "b": [2.5]}), disposition="append", load_id="2")

    load(out, work, pa.table({"c": [1.5]}), disposition="append", load_id="3")
    with pytest.raises(SchemaConflict, match="'c'"):
        load(out, work, pa.table({"c": [date(2024, 1, 1)]}), disposition="append", load_id="4")


def test_two_pipelines_of_one_folder_leave_each_other_s_files_alone(out, work):
    shared = {"disposition": "append", "shared": True}
    load(out, work, pipeline_id="one", incremental=True)
    load(out, work, pipeline_id="two", **shared)
    load(out, work, ITEMS.slice(0, 1), pipeline_id="two", **shared)

    assert sorted(pq.read_table(path).num_rows for path in (out / "items").iterdir()) == [1, 5, 5]


@pytest.mark.parametrize("grows", [True, False])
def test_a_file_and_a_folder_of_files_have_one_owner(out, work, grows):
    load(out, work, pipeline_id="one", pipeline_name="orders", incremental=grows)

    with pytest.raises(TableOwned, match=r"'orders' \(one\)"):
        load(out, work, pipeline_id="two", incremental=grows)
    load(out, work, pipeline_id="two", incremental=grows, adopt=True)

    with pytest.raises(TableOwned, match="two"):
        load(out, work, pipeline_id="one", incremental=grows)


def test_two_loads_of_one_file_at_once_publish_one_of_them_whole(out, work):
    def load_second() -> None:
        if not (out / "items.parquet").exists():
            load(out, work, ITEMS.slice(0, 1), pipeline_id="two", adopt=True)

    load(out, work, pipeline_id="one", adopt=True, before_commit=load_second)

    assert pq.read_table(out / "items.parquet").num_rows == ITEMS.num_rows


@pytest.mark.parametrize("grows", [True, False])
def test_a_load_removes_what_a_killed_one_left_unfinished_and_nothing_of_another_pipeline(out, work, grows):
    left = [out / name for name in (f".{tag('pipeline-1')}-1.unfinished", f".{tag('other')}-1.unfinished")]
    if grows:
        left = [path.parent / "items" / "part=a" / path.name for path in left]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")

    load(out, work, incremental=grows)

    assert [path.exists() for path in left] == [False, True]


def test_a_load_whose_unfinished_file_the_next_one_removed_publishes_nothing(out, work):
    def sweep() -> None:
        for path in out.rglob("*.unfinished"):
            path.unlink()

    with pytest.raises(MovedOn):
        load(out, work, before_commit=sweep)

    assert not (out / "items.parquet").exists()


def test_a_load_goes_on_from_the_record_that_the_run_has_read(out, work):
    load(out, work, load_id="one", disposition="append", identity="x", continues=True)
    destination = load(
        out, work, load_id="two", disposition="append", identity="x", continues=True, previous_load="one"
    )

    with pytest.raises(MovedOn):
        load(out, work, load_id="three", disposition="append", continues=True, previous_load="one")

    last = destination.last_load("pipeline-1")
    assert (last.load_id, last.identity, last.table, last.table_exists) == ("two", "x", "items", True)
    shutil.rmtree(out / "items")
    assert not destination.last_load("pipeline-1").table_exists


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_files_that_the_record_names_stay_if_old_ones_cannot_be_removed(out, work, monkeypatch, error):
    def fail(_: LocalFolder, names: Iterable[str]) -> None:
        if list(names):
            raise error

    load(out, work, load_id="one", incremental=True)
    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "delete", fail)
        with suppress(KeyboardInterrupt):
            load(out, work, ITEMS.slice(3), load_id="two", incremental=True)

    record = json.loads((out / "_headrace" / "pipeline-1.json").read_text())
    assert record["load_id"] == "two"
    assert [pq.read_table(out / name).num_rows for name in record["files"]] == [2]
    load(out, work, ITEMS.slice(4), load_id="three", disposition="append", incremental=True)
    assert sorted(pq.read_table(out / "items", partitioning=None)["id"].to_pylist()) == [4, 5, 5]


def test_a_run_without_new_rows_stores_its_cursor_and_leaves_the_files(out, work):
    goes_on = {"disposition": "append", "incremental": True, "continues": True}
    destination = load(out, work, ITEMS, load_id="one", cursor=5, **goes_on)
    before = sorted(path.name for path in (out / "items").iterdir())

    def advance(load_id: str, previous: str, **changes: Any) -> bool:
        request = request_for(
            ITEMS.slice(5), work, load_id=load_id, cursor=7, previous_load=previous, **goes_on, **changes
        )
        return destination.advance(request)

    assert not advance("other", "one", pipeline_id="pipeline-2")
    assert advance("two", "one")

    last = destination.last_load("pipeline-1")
    assert (last.load_id, last.cursor) == ("two", 7)
    assert sorted(path.name for path in (out / "items").iterdir()) == before
    with pytest.raises(MovedOn):
        advance("three", "one")
    wrong = ITEMS.set_column(0, "id", ITEMS["day"])
    with pytest.raises(SchemaConflict):  # the columns are known as before
        load(out, work, wrong, load_id="four", previous_load="two", **goes_on)


def test_a_record_that_somebody_damaged_is_no_reason_to_start_over(out, work):
    destination = load(out, work, disposition="append")
    (out / "_headrace" / "pipeline-1.json").write_text("{}")

    with pytest.raises(Rejected, match="remove it"):
        destination.last_load("pipeline-1")


def test_a_folder_that_cannot_be_written_to_is_told_as_one(tmp_path, work):
    (tmp_path / "file").write_text("")

    with pytest.raises(Rejected):
        load(tmp_path / "file" / "out", work)
    with pytest.raises(Rejected):
        FileDestination(path=str(tmp_path / "file" / "out")).check()


@pytest.mark.parametrize(
    "config",
    [
        {"path": "ftp://host/out"},
        {"path": "s3://bucket/*"},
        {"path": "az://container/out"},
        {"path": "/data", "storage": {"type": "s3"}},
        {"path": "/data", "partition_by": ["a", "a"]},
        {"path": "/data", "file_name": "../x"},
    ],
)
def test_a_configuration_that_leads_nowhere_is_refused(config):
    with pytest.raises(ValidationError):
        FileDestination.model_validate(config)


@pytest.fixture(params=["local", "s3"])
def config(request: pytest.FixtureRequest, out: Path) -> dict[str, Any]:
    """A destination partitioned by `part`, of each kind of folder."""
    if request.param == "local":
        return {"path": str(out), "partition_by": ["part"]}
    server: S3Server = request.getfixturevalue("s3_server")
    path = f"s3://{server.fresh_bucket()}/out"
    return {"path": path, "partition_by": ["part"], "storage": server.storage()}


def ids(config: dict[str, Any], work: Path) -> list[int]:
    """The ids in all files that a reader finds below the table's folder."""
    destination = FileDestination.model_validate(config)
    if destination.storage is None:
        files = list((Path(config["path"]) / "items").rglob("*.parquet"))
    else:
        files = []
        with object_store.opened(destination.storage, config["path"].split("/")[2]) as store:
            for number, found in enumerate(store.list("out/items")):
                files.append(work / f"copy-{number}")
                files[-1].write_bytes(store.read(found.key))
    return sorted(number for path in files for number in pq.read_table(path)["id"].to_pylist())


@pytest.mark.parametrize(
    ("stage", "disposition"),
    [("before the record", "append"), ("before the record", "replace"), ("after the record", "replace")],
)
def test_a_load_that_was_killed_is_made_whole_by_its_retry_or_by_the_next_one(
    config, work, stage, disposition
):
    destination = FileDestination.model_validate(config)
    first = pa.table({"id": [1, 2, 3], "part": ["a", "b", None]})
    destination.load(request_for(first, work, load_id="first", incremental=True, cursor=3))

    arguments = json.dumps([config, stage, "killed", disposition, str(work)])
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, arguments],
        cwd=Path(__file__).parents[2] / "support",
        check=False,
        timeout=60,
    )

    assert killed.returncode == 9
    committed = stage == "after the record"
    last = destination.last_load("pipeline-1")
    assert (last.load_id, last.cursor) == (("killed", 5) if committed else ("first", 3))

    again = pa.table({"id": [4, 5], "part": ["a", "b"]})
    old = [] if disposition == "replace" else [1, 2, 3]
    for load_id in ("killed", "killed", "next"):
        changes = {"load_id": load_id, "disposition": disposition, "incremental": True, "cursor": 5}
        destination.load(request_for(again, work, **changes))
        added = [4, 4, 5, 5] if load_id == "next" and disposition == "append" else [4, 5]
        assert ids(config, work) == [*old, *added]


def test_the_next_load_removes_what_a_killed_one_left(config, work):
    destination = FileDestination.model_validate(config)
    arguments = json.dumps([config, "before the record", "killed", "append", str(work)])
    subprocess.run(
        [sys.executable, "-c", _KILLED, arguments], cwd=Path(__file__).parents[2] / "support", check=False
    )
    assert ids(config, work) == [4, 5]

    rows = pa.table({"id": [6], "part": ["a"]})
    destination.load(request_for(rows, work, load_id="next", disposition="append"))
    assert ids(config, work) == [6]
