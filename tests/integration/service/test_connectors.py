"""The catalogue, and looks at systems: each in a process of its own."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headrace.connectors import local
from headrace.connectors.registry import UnknownConnector
from headrace.pipeline.faults import InvalidConfig
from headrace.service import connector_process
from headrace.service.connector_process import (
    ConnectorRefused,
    ConnectorTimedOut,
    Task,
    TooManyTasks,
    in_own_process,
)
from headrace.service.connectors import Connectors, UnknownStream
from headrace.settings import Settings

SOURCE = """
import os, sys, time
from typing import ClassVar
from pydantic import SecretStr
from headrace.connectors import Source, Stream, Unauthorized

class Mine(Source):
    name: ClassVar[str] = "mine"
    title: ClassVar[str] = "Mine"
    token: SecretStr = SecretStr("")
    folder: str = ""

    @classmethod
    def known_streams(cls):
        return (Stream(name="things"),)

    def read(self, request):
        BODY
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path / "home")
    settings.connectors.mkdir(parents=True)
    monkeypatch.setattr(local, "_folder", local.LocalFolder(settings.connectors))
    return settings


@pytest.fixture
def connectors(settings):
    return Connectors(settings)


@pytest.fixture
def define(settings):
    def define(body: str) -> None:
        text = SOURCE.replace("BODY", body.replace("\n", "\n        "))
        (settings.connectors / "mine.py").write_text(text)

    return define


def test_a_preview_shows_the_first_records_and_their_types(connectors):
    preview = connectors.preview("dummy", {"records": 1000}, stream="creatures", limit=3)

    assert [record["id"] for record in preview.records] == [1, 2, 3]
    assert preview.records[0]["updated_at"] == "2024-01-01T00:00:01Z"
    assert {"name": "updated_at", "type": "timestamp[us, tz=UTC]"} in preview.columns


def test_a_preview_is_of_a_hundred_records_at_most(connectors):
    preview = connectors.preview("dummy", {"records": 1000}, stream="creatures", limit=5000)

    assert len(preview.records) == 100


def test_a_preview_has_the_types_of_a_runs_file(connectors, define):
    define("yield [{'id': 1, 'v': 2**70, 'blob': b'ab'}]\nyield [{'id': 'x', 'late': {'a': [1.5]}}]")

    preview = connectors.preview("mine", {}, stream="things", limit=10)

    types = {column["name"]: column["type"] for column in preview.columns}
    assert types == {"id": "string", "v": "string", "blob": "binary", "late": "struct<a: list<item: double>>"}
    assert preview.records[0] == {"id": "1", "v": str(2**70), "blob": "YWI=", "late": None}
    assert preview.records[1]["late"] == {"a": [1.5]}


def test_a_preview_shows_values_that_no_object_of_python_holds(connectors, define):
    define(
        "import pyarrow as pa\n"
        "moments = pa.array([1704067200123456789], pa.timestamp('ns', 'UTC'))\n"
        "days = pa.array([3_000_000], pa.date32())\n"
        "yield pa.record_batch({'at': moments, 'day': days, 'x': [float('nan')]})"
    )

    [record] = connectors.preview("mine", {}, stream="things", limit=10).records

    assert record == {"at": "2024-01-01T00:00:00.123456789Z", "day": "+10183-09-21", "x": "NaN"}


def test_a_preview_cuts_long_texts(connectors, define):
    define("yield [{'text': 'x' * 10_000_000, 'items': list(range(100_000))}]")

    [record] = connectors.preview("mine", {}, stream="things", limit=10).records

    assert (len(record["text"]), len(record["items"])) == (1001, 1000)


def test_streams_are_those_of_the_system(connectors):
    assert [stream.name for stream in connectors.streams("dummy", {})] == ["creatures", "plants"]


def test_faults_of_the_configuration_are_found_without_a_process(connectors, monkeypatch):
    monkeypatch.setattr(connector_process.subprocess, "Popen", None)

    with pytest.raises(UnknownConnector):
        connectors.streams("nothing", {})
    with pytest.raises(InvalidConfig):
        connectors.preview("dummy", {"surprise": 1}, stream="creatures", limit=1)
    with pytest.raises(UnknownStream) as caught:
        connectors.preview("dummy", {}, stream="unicorns", limit=1)
    assert caught.value.errors[0].pointer == "/stream"


def test_a_refusal_is_masked_and_says_why(connectors, define):
    define("raise Unauthorized(f'{self.token.get_secret_value()} was refused')\nyield")

    with pytest.raises(ConnectorRefused) as caught:
        connectors.preview("mine", {"token": "hunter2-hunter2"}, stream="things", limit=1)

    assert caught.value.context == {"cause": "connector.unauthorized"}
    assert "hunter2" not in caught.value.detail
    assert "was refused" in caught.value.detail


@pytest.mark.parametrize(
    "body", ["raise KeyError('hunter2-hunter2')\nyield", "os._exit(3)\nyield", "os.abort()\nyield"]
)
def test_a_crash_is_told_and_stays_in_its_process(connectors, define, body):
    define(body)

    with pytest.raises(ConnectorRefused) as caught:
        connectors.preview("mine", {"token": "hunter2-hunter2"}, stream="things", limit=1)

    assert caught.value.context == {"cause": "connector.crashed"}
    assert "hunter2" not in caught.value.detail


def test_what_a_connector_prints_does_not_spoil_the_answer(connectors, define):
    define("print('{'); sys.stderr.write('}'); os.write(1, b'noise')\nyield [{'id': 1}]")

    assert connectors.preview("mine", {}, stream="things", limit=1).records == [{"id": 1}]


def test_a_preview_ends_with_its_process_though_a_thread_is_left(connectors, define):
    define("import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()\nyield [{'id': 1}]")
    began = time.monotonic()

    assert connectors.preview("mine", {}, stream="things", limit=1).records == [{"id": 1}]
    assert time.monotonic() - began < 20


def test_a_connector_that_hangs_is_ended_with_what_it_has_started(settings, define, tmp_path):
    define(
        "import subprocess, tempfile\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open(f'{self.folder}/seen', 'w').write(f'{child.pid} {tempfile.gettempdir()}')\n"
        "time.sleep(60)\n"
        "yield"
    )
    config = {"folder": str(tmp_path)}
    task = Task(action="preview", kind="source", name="mine", config=config, stream="things", limit=1)

    with pytest.raises(ConnectorTimedOut, match="within 5 s"):
        in_own_process(task, settings, seconds=5)

    child, folder = (tmp_path / "seen").read_text().split()
    assert not is_running(int(child))
    assert not Path(folder).exists()


def test_no_secret_is_in_the_arguments_or_the_environment(settings, define, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://hunter2-hunter2@db/x")
    define(
        "facts = [open(f'/proc/self/{name}').read() for name in ('cmdline', 'environ')]\n"
        "yield [{'facts': ' '.join(facts), 'is_given': self.token.get_secret_value() == 'hunter2-hunter2'}]"
    )

    [record] = (
        Connectors(settings).preview("mine", {"token": "hunter2-hunter2"}, stream="things", limit=1).records
    )

    assert "connector_process_main" in record["facts"]
    assert "hunter2" not in json.dumps(record)
    assert record["is_given"]


def test_a_check_of_a_function_leaves_it_out_of_the_service(connectors, settings):
    (settings.connectors / "functions.py").write_text(
        "import os\nPID = os.getpid()\ndef things():\n    yield {'pid': PID}\n"
    )
    config = {"function": "functions:things"}

    result = connectors.check("source", "python", config)
    [record] = connectors.preview("python", config, stream="things", limit=1).records

    assert (result.success, result.message) == (True, "Found functions:things; a run calls it.")
    assert record["pid"] != os.getpid()


def test_a_check_that_fails_is_an_answer(connectors):
    result = connectors.check("source", "python", {"function": "no_such_module:things"})

    assert (result.success, result.code) == (False, "python.function_unusable")


def test_a_connector_that_cannot_be_imported_is_left_out_of_the_catalogue(connectors, settings, caplog):
    (settings.connectors / "broken.py").write_text("class Broken(:")
    (settings.connectors / "untitled.py").write_text(
        SOURCE.replace("BODY", "yield").replace('title: ClassVar[str] = "Mine"', "")
    )

    names = [card.name for card in connectors.sources()]

    assert {"dummy", "postgres", "python"} <= set(names)
    assert {"broken", "mine"}.isdisjoint(names)
    assert "broken.py, line 1: SyntaxError" in caplog.text
    assert "mine is left out" in caplog.text


def test_only_so_many_checks_run_at_once(settings, monkeypatch):
    monkeypatch.setattr(connector_process, "_slots", threading.BoundedSemaphore(1))
    task = Task(action="check", kind="source", name="dummy", config={})

    with connector_process._slots, pytest.raises(TooManyTasks):
        in_own_process(task, settings, seconds=0.1)

    assert in_own_process(task, settings) == "Nothing to connect to."


def test_the_service_that_checks_never_imports_what_moves_data():
    code = (
        "import sys; from headrace.service.connectors import Connectors;"
        "from headrace.settings import Settings;"
        "connectors = Connectors(Settings()); connectors.sources(); connectors.check('source', 'dummy', {});"
        "print([name for name in ('pyarrow', 'duckdb', 'adbc_driver_manager') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def is_running(pid: int) -> bool:
    """Whether a process still does anything; one that ended and was not waited for does not."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True
