"""Transforms in their real process and in whole runs: what they do, how they end, what they cannot reach."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field
from waiting import eventually

from headrace.connectors import (
    Destination,
    LoadRequest,
    LoadResult,
    ReadRequest,
    Source,
    Stream,
    SyncMode,
)
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.job import EngineJob, EngineResult
from headrace.engine.loading import NoPrimaryKey
from headrace.engine.run import run_pipeline
from headrace.engine.transforms import code_steps
from headrace.engine.transforms.code_steps import NoSandbox, TransformFailed
from headrace.engine.transforms.columns import MissingColumn
from headrace.engine.transforms.frames import encoded
from headrace.engine.transforms.steps import transformation
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.transforms import Transform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines the process by seccomp"),
]
LOG = logging.getLogger("test.transforms")
Page = list[dict[str, Any]] | pa.RecordBatch


def steps(*given: dict[str, Any]) -> tuple[Transform, ...]:
    return tuple(Transform(label=f"step {number}", **step) for number, step in enumerate(given, 1))


def batches(*pages: Page, by: Sequence[dict[str, Any]]) -> list[pa.RecordBatch]:
    with transformation(steps(*by), check=lambda: None) as transformed:
        return [
            changed
            for page in pages
            for changed in transformed(arrowize(page) if isinstance(page, list) else page)
        ]


def records(*pages: Page, by: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for batch in batches(*pages, by=by) for record in batch.to_pylist()]


def failure(*pages: Page, by: Sequence[dict[str, Any]]) -> str:
    with pytest.raises(TransformFailed) as caught:
        records(*pages, by=by)
    return caught.value.detail


def test_a_failing_record_is_told_by_its_number_and_line_over_all_pages():
    pages = [[{"id": n, "name": "s3cret"} for n in range(6_000)] for _ in range(3)]
    pages[2][17]["id"] = None

    detail = failure(*pages, by=[{"python": "pass"}, {"python": "x = 1\ndata['id'] += x"}])

    assert detail == "The transform 'step 2' failed at record 12,018: TypeError, line 2."


def test_a_failing_query_is_told_by_the_records_that_it_was_given():
    page = [{"id": n, "name": "s3cret"} for n in range(12_000)]

    assert failure(page, by=[{"sql": "SELECT CASE WHEN id > 11000 THEN name::INT END FROM data"}]) == (
        "The transform 'step 1' failed at one of the records 10,001 to 12,000: ConversionException."
    )


# Several steps, and pages that drift


def test_steps_come_in_their_order_whatever_their_kinds():
    by = [
        {"columns": {"rename": {"id": "key"}, "exclude": ["noise"]}},
        {"python": "data['key'] += 1\ndata['trace'] = ['python']"},
        {"sql": "SELECT *, key * 10 AS tens FROM data"},
        {"columns": {"cast": {"tens": "string"}}},
        {"python": "data['trace'].append(data['tens'])"},
    ]

    assert records([{"id": 1, "noise": 0}], by=by) == [{"key": 2, "trace": ["python", "20"], "tens": "20"}]


def test_a_column_that_no_record_has_fails_the_run():
    with pytest.raises(MissingColumn, match="'step 1' names 'email'"):
        records([{"id": 1}], by=[{"columns": {"exclude": ["email"]}}])


class Pages(Source):
    """Yields what it is given."""

    name: ClassVar[str] = "pages"
    title: ClassVar[str] = "Pages"
    pages: list[Any] = Field([])

    def describe(self, stream: str) -> Stream:
        return Stream(name=stream, primary_key=("id",), sync_modes=tuple(SyncMode), cursor_field="at")

    def read(self, request: ReadRequest) -> Iterator[Any]:
        yield from self.pages


class Keeping(Destination):
    """Keeps the requests of its loads."""

    name: ClassVar[str] = "keeping"
    title: ClassVar[str] = "Keeping"
    requests: list[LoadRequest] = Field([])

    def load(self, request: LoadRequest) -> LoadResult:
        self.requests.append(request)
        return LoadResult(rows=request.output.rows, location="memory")


def pipeline(*pages: Page, by: Sequence[dict[str, Any]], incremental: bool = False) -> PipelineConfig:
    return PipelineConfig(
        name="it",
        source=Pages.model_construct(pages=list(pages)),
        source_name="pages",
        stream="things",
        sync_mode=SyncMode.INCREMENTAL if incremental else SyncMode.FULL_REFRESH,
        cursor_field=None,
        max_iterations=None,
        destination=Keeping.model_construct(requests=[]),
        destination_name="keeping",
        transforms=steps(*by),
    )


def step_processes() -> list[psutil.Process]:
    """The processes of steps; this one has other children, as the suite's servers."""
    children = psutil.Process().children()
    return [child for child in children if "headrace.engine.transforms.process" in child.cmdline()]


def run(config: PipelineConfig, folder: Path, **changes: Any) -> EngineResult:
    job = EngineJob(output_path=folder / "it.parquet", pipeline_id="p", run_id="r", log=LOG, **changes)
    return run_pipeline(config, job)


def test_a_run_writes_what_the_steps_made_of_pages_that_drift(tmp_path):
    pages = [
        [{"id": 1, "v": 1}],
        [{"id": 2, "v": 2.5, "late": {"x": 1}}],
        [],
        [{"id": 3, "v": "text"}],
        [{"id": 4}],
    ]
    by = [
        {"python": "data['kind'] = str(type(data.get('v')))[8:-2]"},
        {"sql": "SELECT * FROM data WHERE id <> 4"},
        {"columns": {"rename": {"v": "value"}}},
    ]

    result = run(pipeline(*pages, by=by), tmp_path)

    assert result.rows == 3
    assert pq.read_table(tmp_path / "it.parquet").to_pylist() == [
        {"id": 1, "value": "1", "kind": "int", "late": None},
        {"id": 2, "value": "2.5", "kind": "float", "late": {"x": 1}},
        {"id": 3, "value": "text", "kind": "str", "late": None},
    ]


def test_a_stream_without_rows_stays_one(tmp_path):
    by = [{"python": "data['x'] = 1"}, {"sql": "FROM data"}, {"columns": {"exclude": ["x"]}}]

    assert run(pipeline(by=by), tmp_path).rows == 0


def test_the_cursor_is_the_source_s_though_the_steps_drop_it(tmp_path):
    config = pipeline(
        [{"id": 1, "at": 5}, {"id": 2, "at": 9}],
        by=[{"python": "data = data if data['id'] == 1 else None"}, {"columns": {"exclude": ["at"]}}],
        incremental=True,
    )

    result = run(config, tmp_path)

    assert (result.rows, result.cursor["value"]) == (1, 9)
    assert result.schema.names == ["id"]


def test_rows_are_merged_on_the_key_s_new_name(tmp_path):
    config = pipeline([{"id": 1, "at": 5}], by=[{"columns": {"rename": {"id": "key"}}}], incremental=True)

    run(config, tmp_path)

    [request] = config.destination.requests  # type: ignore[attr-defined]
    assert (request.disposition, request.primary_key) == ("merge", ("key",))


@pytest.mark.parametrize(
    "step",
    [
        {"columns": {"exclude": ["id"]}},
        {"python": "data['key'] = data.pop('id')"},
        {"sql": "SELECT name FROM data"},
    ],
)
def test_a_key_that_the_steps_drop_fails_the_run_before_the_load(tmp_path, step):
    config = pipeline([{"id": 1, "at": 5, "name": "x"}], by=[step], incremental=True)

    with pytest.raises(NoPrimaryKey, match="no column 'id'"):
        run(config, tmp_path)

    assert config.destination.requests == []  # type: ignore[attr-defined]


def test_a_failing_step_publishes_nothing(tmp_path):
    config = pipeline([{"id": 1}], [{"id": 0}], by=[{"python": "data['x'] = 1 / data['id']"}])

    with pytest.raises(TransformFailed, match="record 2: ZeroDivisionError, line 1"):
        run(config, tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert step_processes() == []


# What would never end


class Cancelled(Exception):
    """Stands for a user's cancel, or a time-out."""


@pytest.mark.parametrize(
    "step",
    [
        {"python": "while True:\n  try:\n    while True: pass\n  except BaseException: pass"},
        {"sql": "SELECT count(*) FROM range(100000000000) a, data"},
    ],
)
def test_an_endless_step_ends_with_a_cancel_and_leaves_no_process(tmp_path, step):
    begun = time.monotonic()

    def check() -> None:
        if time.monotonic() > begun + 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(pipeline([{"id": 1}], by=[step]), tmp_path, check=check)

    assert time.monotonic() < begun + 10
    assert step_processes() == []
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_eats_memory_fails_and_the_worker_s_stays_small(tmp_path):
    before = psutil.Process().memory_info().rss

    with pytest.raises(TransformFailed, match=r"MemoryError|used up its memory"):
        run(pipeline([{"id": 1}], by=[{"python": "x = []\nwhile True: x.append('x' * 10**6)"}]), tmp_path)

    assert psutil.Process().memory_info().rss - before < 50_000_000


_WORKER = """
import logging, sys, threading, time
import psutil
from headrace.pipeline.transforms import Transform
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.transforms.steps import transformation

with transformation([Transform(label="x", python="while True: pass")], check=lambda: None) as transformed:
    next(transformed(arrowize([{"id": 1}])))
"""


def test_a_worker_that_is_killed_leaves_no_process_that_computes():
    worker = subprocess.Popen([sys.executable, "-c", _WORKER])
    try:
        step = eventually(lambda: next(iter(psutil.Process(worker.pid).children()), None))
        eventually(lambda: step.cpu_times().user > 1.5)  # it has started, and is in its loop
        worker.kill()
        eventually(lambda: not step.is_running() or step.status() == psutil.STATUS_ZOMBIE)
    finally:
        worker.kill()
        worker.wait()


# What the code cannot reach

_OUT_OF_PYTHON = """
import string, collections, json

# The checks of the source text are no wall: a format's field reaches attributes that code may not write.
reach = lambda thing, path: string.Formatter().get_field("0." + path, (thing,), {})[0]
modules = reach(collections, "namedtuple.__globals__")["_sys"].modules
os, builtins, ctypes = modules["os"], modules["builtins"], modules["ctypes"]
"""
_ATTEMPTS = {
    "a platform's file": "os.open(data['file'], 0)",
    "python's open": "builtins.open(data['file'])",
    "a new file": "os.open('/tmp/headrace-escaped', os.O_CREAT | os.O_WRONLY)",
    "a folder": "os.listdir('/')",
    "another process' environment": "builtins.open('/proc/%d/environ' % data['worker'])",
    "another process' memory": "ctypes.CDLL(None).process_vm_readv(data['worker'], 0, 0, 0, 0, 0)",
    "a debugger": "ctypes.CDLL(None).ptrace(16, data['worker'], 0, 0)",
    "a socket": "modules['_socket'].socket(2, 1, 0)",
    "a unix socket": "modules['_socket'].socket(1, 1, 0)",
    "a new process": "os.fork()",
    "another program": "os.execv('/bin/sh', ['sh', '-c', 'true'])",
    "a thread": "modules['_thread'].start_new_thread(print, ())",
    "a signal": "os.kill(data['worker'], 9)",
    "its parent": "os.kill(os.getppid(), 9)",
    "io_uring": "ctypes.CDLL(None).syscall(425, 1, 0)",
    "no filter any more": "ctypes.CDLL(None).syscall(317, 1, 0, 0)",
    "a shell": "os.system('touch /tmp/headrace-escaped')",
    "a copy of its descriptor": "os.dup(0)",
    "more memory for itself": "modules['resource'].setrlimit(2, (-1, -1))",
}


def test_code_that_has_left_python_s_rules_behind_still_reaches_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_VAULT_TOKEN", "s3cret-token")
    secret = tmp_path / "keyring"
    secret.write_text("s3cret-key")
    secret.chmod(0o644)
    lines = [_OUT_OF_PYTHON, "outcomes = {}"]
    for name, attempt in _ATTEMPTS.items():
        lines += ["try:", f"    outcomes[{name!r}] = str({attempt})"]
        lines += ["except BaseException as error:", f"    outcomes[{name!r}] = type(error)"]
    lines += [
        "outcomes = {name: f if isinstance(f, str) else str(f)[8:-2] for name, f in outcomes.items()}",
        "data = {'outcomes': outcomes, 'environment': str(dict(os.environ)), 'pid': os.getpid(),",
        "        'arguments': str(modules['sys'].argv), 'modules': sorted(modules)}",
    ]

    [found] = records([{"file": str(secret), "worker": os.getpid()}], by=[{"python": "\n".join(lines)}])

    refused = {"PermissionError", "OSError", "RuntimeError", "ValueError", "-1", "32512"}
    assert {name: got for name, got in found["outcomes"].items() if got not in refused} == {}
    assert found["pid"] != os.getpid()
    assert "s3cret" not in str(found)
    assert "HEADRACE" not in found["environment"]
    assert "PATH" not in found["environment"]
    held = {name.split(".")[1] for name in found["modules"] if name.startswith("headrace.")}
    assert held <= {"connectors", "engine", "errors", "pipeline"}  # no settings, no store, no keyring
    assert not Path("/tmp/headrace-escaped").exists()


@pytest.mark.parametrize(
    "forged",
    [
        r"os.write(0, b'\xff' * 8)",
        r"os.write(0, b'\0' * 7 + b'\x09' + b'E{\"step\":1')",
        r"os.close(0)",
    ],
)
def test_an_answer_that_the_code_forges_is_not_read(forged):
    assert "ended" in failure([{"id": 1}], by=[{"python": _OUT_OF_PYTHON + forged}])


def test_a_batch_that_lies_about_itself_is_not_read():
    good = arrowize([{"text": "abc"}])
    # The second of the text's two offsets says that it ends 200 bytes on.
    frame = (b"B" + encoded(good)).replace(b"\0\0\0\0\x03\0\0\0\0", b"\0\0\0\0\xc8\0\0\0\0")
    assert frame != b"B" + encoded(good)
    code = f"{_OUT_OF_PYTHON}\nframe = {frame!r}\nos.write(0, len(frame).to_bytes(8, 'big') + frame)"

    assert "ended" in failure(good, by=[{"python": code}])


@pytest.mark.parametrize("code", [{"sql": "SELECT id + 1 AS id FROM data"}, {"python": "data['id'] += 1"}])
def test_a_process_that_is_paused_goes_on_where_it_was(code):
    with transformation(steps(code), check=lambda: None) as transformed:
        for number in range(3):
            assert [batch.to_pylist() for batch in transformed(arrowize([{"id": number}]))] == [
                [{"id": number + 1}]
            ]
            (process,) = step_processes()
            process.suspend()
            time.sleep(0.05)
            process.resume()


_WAITS = """
import os, threading, time
from headrace.engine.transforms.sandbox import confine

thread = threading.Thread(target=lambda: (threading.Event().wait(1), os.write(1, b"waited ")))
thread.start()
time.sleep(0.1)
confine()
os.write(1, b"confined ")
time.sleep(1)
os.write(1, b"slept ")
thread.join()
"""


def test_waits_of_a_confined_process_survive_a_pause():
    with subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"confined "
        for signal_ in (signal.SIGSTOP, signal.SIGCONT) * 3:
            process.send_signal(signal_)
            time.sleep(0.05)
        said = process.stdout.read()

    assert sorted(said.split()) == [b"slept", b"waited"]
    assert process.returncode == 0


def test_without_a_sandbox_no_code_runs(monkeypatch):
    def refuse(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        # The same process, on a kernel that knows no filters: `uname` says another machine.
        program = (
            "import platform; platform.machine = lambda: 'vax'\n"
            "from headrace.engine.transforms.process import main; main()"
        )
        return _popen([arguments[0], "-I", "-c", program], **options)

    _popen = subprocess.Popen
    monkeypatch.setattr(code_steps.subprocess, "Popen", refuse)

    with pytest.raises(NoSandbox):
        records([{"id": 1}], by=[{"python": "data = {}"}])
