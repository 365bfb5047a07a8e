"""Files read by their changes: what is new, what is changed, what comes late, and where a run resumes."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from http_servers.server import Answer, serving

from headrace.connectors import Checkpoint, Cursor, ReadRequest, SyncMode
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.files import position as file_position
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.files.found import FileChanged, NoModificationTime
from headrace.connectors.files.position import NoPosition
from headrace.pipeline.document import parse_config
from headrace.pipeline.faults import InvalidConfig

NOON = 1_706_702_400  # 2024-01-31T12:00:00Z


class Folder:
    """A folder of files, and a source that reads on from where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor: Cursor | None = None

    def write(self, name: str, seconds: float) -> None:
        (self.path / name).write_text(f"name\n{name}\n")
        os.utime(self.path / name, ns=(0, int((NOON + seconds) * 1e9)))

    def read(self, files: int | None = None, warn: Warn = log_warning, **config: Any) -> list[str]:
        """Read what is new, up to the checkpoint of as many files, and keep the position."""
        source = FilesSource(paths=(str(self.path / "*.csv"),), **config)
        request = ReadRequest(stream="things", sync_mode=SyncMode.INCREMENTAL, cursor=self.cursor, warn=warn)
        names: list[str] = []
        for item in source.read(request):
            if isinstance(item, Checkpoint):
                self.cursor = item.cursor
                files = files and files - 1
                if files == 0:
                    break
            else:
                names += [row["name"] for row in (item if isinstance(item, list) else item.to_pylist())]
        return names


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_files_are_read_in_the_order_of_their_times_and_then_only_new_ones(folder):
    folder.write("b.csv", 0)
    folder.write("a.csv", 10)
    assert folder.read() == ["b.csv", "a.csv"]

    assert folder.read() == []
    folder.write("c.csv", 20)
    assert folder.read() == ["c.csv"]


@pytest.mark.parametrize("lookback", [0, 3600])
def test_files_of_one_and_the_same_time_are_all_read_whenever_they_come(folder, lookback):
    folder.write("b.csv", 0)
    assert folder.read(lookback_seconds=lookback) == ["b.csv"]

    folder.write("a.csv", 0)
    folder.write("c.csv", 0)
    assert folder.read(lookback_seconds=lookback) == ["a.csv", "c.csv"]
    assert folder.read(lookback_seconds=lookback) == []


def test_a_file_that_appears_late_with_an_older_time_is_read(folder):
    folder.write("b.csv", 0)
    folder.read()

    folder.write("late.csv", -60)
    folder.write("much later.csv", -10_000_000)
    assert folder.read() == ["much later.csv", "late.csv"]


@pytest.mark.parametrize("wrong", [2_000_000_000, 2**37, -NOON])
def test_a_file_whose_clock_was_wrong_hides_no_other_one(folder, monkeypatch, wrong):
    monkeypatch.setattr(file_position, "_MOST_FILES", 2)
    monkeypatch.setattr(file_position, "_SPARE", 0)
    found = []
    for number in range(6):
        folder.write(f"{number}.csv", wrong if number == 2 else number)
        found += folder.read(lookback_seconds=0)

    assert found == [f"{number}.csv" for number in range(6)]


def test_a_position_that_was_left_in_the_future_hides_nothing_that_comes_now(folder):
    folder.write("a.csv", 0)
    folder.cursor = {"since": "2099-01-01T00:00:00.000000000Z", "files": {}}
    warnings = []

    assert folder.read(warn=warnings.append) == []
    (folder.path / "b.csv").write_text("name\nb.csv\n")
    os.utime(folder.path / "b.csv", (time.time() + 60, time.time() + 60))
    assert folder.read() == ["b.csv"]
    assert [warning.code for warning in warnings] == ["source.position_in_the_future"]


def test_a_file_of_the_same_time_and_another_size_was_changed(folder):
    folder.write("a.csv", 0)
    folder.read()

    (folder.path / "a.csv").write_text("name\na.csv\na.csv\n")
    os.utime(folder.path / "a.csv", ns=(0, NOON * 10**9))
    assert folder.read() == ["a.csv", "a.csv"]


def test_a_position_of_an_older_release_is_read_on_from(folder):
    folder.write("a.csv", 0)
    folder.write("b.csv", 10)
    name = str(folder.path / "a.csv")
    folder.cursor = {
        "since": "2024-01-31T11:00:00.000000000Z",
        "files": {name: "2024-01-31T12:00:00.000000000Z"},
    }

    assert folder.read() == ["b.csv"]


def test_a_file_that_was_changed_is_read_again(folder):
    folder.write("a.csv", 0)
    folder.read()

    folder.write("a.csv", 0.000001)
    assert folder.read() == ["a.csv"]


def test_a_read_resumes_after_the_last_file_that_was_read_whole(folder):
    for number in range(4):
        folder.write(f"{number}.csv", number // 2)

    assert folder.read(files=1) == ["0.csv"]
    assert folder.read(files=2) == ["1.csv", "2.csv"]
    assert folder.read() == ["3.csv"]


def test_the_position_remembers_no_more_names_than_it_needs(folder, monkeypatch):
    monkeypatch.setattr(file_position, "_MOST_FILES", 1)
    monkeypatch.setattr(file_position, "_SPARE", 1)
    for number in range(10):
        folder.write(f"{number}.csv", 100 * number)
    folder.read(lookback_seconds=150)

    assert folder.cursor["since"] == "2024-01-31T12:12:30.000000000Z"
    assert [Path(name).name for name in folder.cursor["files"]] == ["8.csv", "9.csv"]


def test_the_state_may_be_set_to_a_time(folder):
    folder.write("a.csv", 0)
    folder.write("b.csv", 60)

    folder.cursor = "2024-01-31T13:01:00+01:00"
    assert folder.read() == ["b.csv"]


@pytest.mark.parametrize("state", [7, "yesterday", {"since": 1}, {"since": "", "files": {"a": 1}}])
def test_a_state_that_is_no_position_is_refused(folder, state):
    folder.write("a.csv", 0)
    folder.cursor = state

    with pytest.raises(NoPosition):
        folder.read()


def test_a_pipeline_names_no_cursor_field_for_files():
    config = {
        "name": "files",
        "source": {"name": "files", "stream": "things", "paths": "/data/*.csv", "sync_mode": "incremental"},
        "destination": {"name": "duckdb", "config": {"path": "/data/it.duckdb"}},
    }

    assert parse_config(config).sync_mode is SyncMode.INCREMENTAL
    with pytest.raises(InvalidConfig, match="its own position"):
        parse_config(config | {"source": config["source"] | {"cursor_field": "name"}})


def _web(**headers: str) -> list[Any]:
    with serving(lambda asked: Answer(body=b"a\n1\n", headers=headers)) as server:
        source = FilesSource(paths=(f"{server.url}/things.csv",))
        return list(source.read(ReadRequest(stream="things", sync_mode=SyncMode.INCREMENTAL)))


def test_a_url_is_dated_by_its_server(folder):
    *_, checkpoint = _web(**{"Last-Modified": "Wed, 31 Jan 2024 12:00:00 GMT"})

    assert list(checkpoint.cursor["files"].values()) == ["2024-01-31T12:00:00.000000000Z"]


@pytest.mark.parametrize("headers", [{}, {"Last-Modified": "yesterday"}])
def test_a_url_without_a_date_cannot_be_read_by_its_changes(headers):
    with pytest.raises(NoModificationTime):
        _web(**headers)


def test_a_url_that_changes_between_the_question_and_the_answer_fails_the_run_for_now():
    def answer(asked: Any) -> Answer:
        status = 412 if "if-unmodified-since" in asked.headers else 200
        return Answer(status=status, headers={"Last-Modified": "Wed, 31 Jan 2024 12:00:00 GMT"})

    with serving(answer) as server:
        source = FilesSource(paths=(f"{server.url}/things.csv",))
        with pytest.raises(FileChanged):
            list(source.read(ReadRequest(stream="things", sync_mode=SyncMode.INCREMENTAL)))
