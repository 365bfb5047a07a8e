"""A function of one's own as a source: how it is found, called, gathered, and how it fails."""

import sys
from types import ModuleType

import pyarrow as pa
import pytest

from headrace.connectors import Checkpoint, ReadRequest, Unauthorized, local
from headrace.connectors.python import stream
from headrace.connectors.python.connector import FunctionFailed, FunctionUnusable, PythonSource
from headrace.pipeline.document import parse_config, parse_connector
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.secrets import mask_secrets

REQUEST = ReadRequest(stream="tickets", cursor=3)


@pytest.fixture
def define(tmp_path, monkeypatch):
    """Write a file of the connectors folder, and return a source that calls its function `tickets`."""
    monkeypatch.setattr(local, "_folder", local.LocalFolder(tmp_path))

    def define(text: str, **config) -> PythonSource:
        (tmp_path / "mine.py").write_text(text)
        return PythonSource(function="mine:tickets", **config)

    return define


def read(source: PythonSource, request: ReadRequest = REQUEST) -> list:
    return list(source.read(request))


def test_records_are_gathered_into_lists(define):
    source = define("def tickets():\n    for n in range(7000):\n        yield {'id': n}\n")

    pages = read(source)

    assert [len(page) for page in pages] == [5000, 2000]
    assert pages[1][-1] == {"id": 6999}


def test_lists_batches_tables_and_checkpoints_keep_their_order(define):
    source = define(
        "import pyarrow as pa\n"
        "from headrace.connectors import Checkpoint\n"
        "def tickets():\n"
        "    yield {'id': 1}\n"
        "    yield Checkpoint(cursor=1)\n"
        "    yield [{'id': 2}, {'id': 3}]\n"
        "    yield pa.record_batch({'id': [4]})\n"
        "    yield pa.table({'id': [5]})\n"
    )

    items = read(source)

    assert items[:3] == [[{"id": 1}], Checkpoint(cursor=1), [{"id": 2}, {"id": 3}]]
    assert [batch.to_pylist() for batch in items[3:]] == [[{"id": 4}], [{"id": 5}]]
    assert all(isinstance(batch, pa.RecordBatch) for batch in items[3:])


@pytest.mark.parametrize("value", ["[{'id': 1}]", "({'id': 1} for _ in range(1))", "{'id': 1}"])
def test_a_function_may_return_its_records(define, value):
    assert read(define(f"def tickets():\n    return {value}\n")) == [[{"id": 1}]]


def test_a_function_that_returns_nothing_is_an_empty_stream(define):
    assert read(define("def tickets():\n    return None\n")) == []


def test_a_function_is_given_what_it_asks_for(define):
    text = "def tickets(cursor, stream, *, size, token):\n    yield [cursor, stream, size, token]\n"
    source = define(text, params={"size": 10}, secrets={"token": "sesame"})

    assert read(source) == [[3, "tickets", 10, "sesame"]]


def test_a_function_that_takes_anything_gets_everything(define):
    source = define("def tickets(**given):\n    yield [sorted(given)]\n", params={"size": 10})

    assert read(source) == [[["cursor", "log", "size", "stream"]]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def tickets(token): ...", "missing a required argument: 'token'"),
        ("def tickets(): ...", "unexpected keyword argument 'size'"),
        ("tickets = 1", "no function tickets"),
        ("from shutil import rmtree as tickets", "not marked"),
    ],
)
def test_a_function_that_cannot_be_called_is_told_by_the_check(define, text, reason):
    source = define(text, params={"size": 1})

    with pytest.raises(FunctionUnusable, match=reason):
        source.check()


def test_a_check_does_not_call_the_function(define):
    assert "mine:tickets" in define("def tickets():\n    raise SystemExit\n").check()


def test_of_a_package_only_marked_functions_are_called(monkeypatch):
    package = ModuleType("acme_streams")

    def marked():
        yield {"id": 1}

    def unmarked():
        yield {"id": 2}

    package.marked, package.unmarked = stream(marked), unmarked
    monkeypatch.setitem(sys.modules, "acme_streams", package)

    assert read(PythonSource(function="acme_streams:marked")) == [[{"id": 1}]]
    for reference in ("acme_streams:unmarked", "shutil:rmtree", "os:system"):
        with pytest.raises(FunctionUnusable):
            PythonSource(function=reference).check()


def test_an_unknown_module_is_named(define):
    define("")

    with pytest.raises(FunctionUnusable, match="no module no_such_module"):
        PythonSource(function="no_such_module:tickets").check()


def test_a_failure_names_the_functions_line_and_not_the_value(define):
    source = define(
        "import json\n\ndef tickets(token):\n    yield json.loads(token)\n", secrets={"token": "{s3"}
    )

    with pytest.raises(FunctionFailed, match=r"^JSONDecodeError at mine\.py:4\.$") as caught:
        read(source)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_connector_error_of_the_functions_own_passes(define):
    source = define(
        "from headrace.connectors import Unauthorized\n"
        "def tickets():\n    raise Unauthorized('The token has expired.')\n    yield\n"
    )

    with pytest.raises(Unauthorized, match="The token has expired"):
        read(source)


def test_checking_a_configuration_does_not_import_the_function():
    config = {"function": "no_such_module:tickets", "params": {}, "secrets": {"token": "hunter2-hunter2"}}

    source = parse_connector("source", "python", config)

    assert "hunter2" not in repr(source)


def test_one_argument_has_one_value():
    config = {"function": "a:b", "params": {"token": 1}, "secrets": {"token": "hunter2-hunter2"}}

    with pytest.raises(InvalidConfig, match="token") as caught:
        parse_connector("source", "python", config)

    assert "hunter2" not in str(caught.value)


def test_a_pipeline_may_sync_a_function_by_a_field(define):
    source = {
        "name": "python",
        "stream": "x",
        "function": "mine:tickets",
        "secrets": {"token": "hunter2-hunter2"},
    }
    raw = {"name": "p", "destination": {"name": "duckdb", "config": {"path": "x.duckdb"}}}

    config = parse_config(
        raw | {"source": source | {"sync_mode": "incremental", "cursor_field": "at", "primary_key": ["id"]}}
    )

    assert config.source.describe("x").primary_key == ("id",)
    assert mask_secrets(raw | {"source": source})["source"]["secrets"] == {"token": "**********"}
