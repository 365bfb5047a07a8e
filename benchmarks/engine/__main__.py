"""Measure the engine beside its peers and the limit, in one run.

Brings its own PostgreSQL, a table of 16 columns, and a server of a REST API, which runs in a process of its
own. Each contender is a process of its own; they take turns, and medians are printed. Peers are installed
into the cache folder when first asked for. Linux only.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests" / "support"))

from benchmarks.engine import tables
from benchmarks.engine.jobs import Job
from benchmarks.engine.lines import LINES, USUAL, Line
from benchmarks.engine.measure import DidNotRun, Measured, measure
from benchmarks.engine.peers import CONTENDERS, Contender
from benchmarks.engine.report import table
from postgres_server import PostgresServer, run_postgres

_PAGE_RECORDS = 100


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # or the servers would be left behind
    contenders, absent = _ready(asked.contenders)
    with run_postgres() as server, tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        bench = Bench(server, Path(folder), asked)
        for name in asked.lines:
            print("\n".join(bench.line(LINES[name], contenders, absent)), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the table, and generated")
    parser.add_argument("--records", type=int, default=200_000, help=f"of the API, {_PAGE_RECORDS} to a page")
    parser.add_argument("--repeats", type=int, default=3, help="how many runs to take the median of")
    parser.add_argument("--lines", default=",".join(USUAL), help=f"of {', '.join(LINES)}")
    names = ",".join(contender.name for contender in CONTENDERS)
    parser.add_argument("--contenders", default=names, help=f"of {names}")
    parser.add_argument("--no-peers", action="store_true", help="the limit and Headrace only")
    asked = parser.parse_args()
    asked.lines = asked.lines.split(",")
    asked.contenders = ["limit", "headrace"] if asked.no_peers else asked.contenders.split(",")
    for name in asked.lines:
        if name not in LINES:
            parser.error(f"there is no line {name!r}")
    return asked


def _ready(names: Sequence[str]) -> tuple[list[Contender], dict[str, str]]:
    """Install who is asked for; return who is there, and why who is not."""
    ready, absent = [], {}
    for contender in CONTENDERS:
        if contender.name in names:
            excuse = contender.install()
            if excuse is None:
                ready.append(contender)
            else:
                absent[contender.name] = excuse
    return ready, absent


class Bench:
    """The servers, the data, and the turns."""

    def __init__(self, server: PostgresServer, folder: Path, asked: argparse.Namespace) -> None:
        self._server, self._folder, self._asked = server, folder, asked
        self._process = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        self._source = server.fresh_database()
        rows = asked.rows if any(LINES[name].source == "postgres" for name in asked.lines) else 1
        size = tables.fill(self._source, rows)
        print(f"{rows:,} rows, {size} in PostgreSQL; median of {asked.repeats}\n", flush=True)

    def line(self, line: Line, contenders: Sequence[Contender], absent: dict[str, str]) -> list[str]:
        """Measure one line, the contenders by turns; return its table."""
        excuses = dict(absent)
        runs: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
        with self._api(line) as url:
            self._prepare(line, contenders, url)
            for _ in range(self._asked.repeats):
                for contender in contenders:
                    why = excuses.get(contender.name) or contender.excuse(line)
                    if why is None:
                        try:
                            runs[contender.name].append(self._measure(contender, line, url))
                        except DidNotRun as failed:
                            why = f"fails: {failed}"
                    if why is not None:
                        excuses[contender.name] = why
        return table(line, runs, excuses)

    def _measure(self, contender: Contender, line: Line, url: str) -> Measured:
        with self._job(line, url) as job:
            measured = measure(
                contender.command(job.text()), folder=Path(job.folder), server=self._process, environment={}
            )
            self._check(contender, job, measured)
        return measured

    def _check(self, contender: Contender, job: Job, measured: Measured) -> None:
        """See that it moved the rows: what is quick and wrong does not count."""
        rows = int(measured.said.get("rows", -1))
        # One says nothing; the other, where it writes CSV of nested records, says a multiple of them.
        table = {"sling": "public.copy", "dlt": "copied.copy"}.get(contender.name)
        if table is not None and job.target == "postgres":
            rows = tables.count(job.target_url, table)
        if contender.name != "limit" and rows >= 0 and rows != job.rows:
            raise DidNotRun(f"moved {rows:,} rows of {job.rows:,}")

    def _prepare(self, line: Line, contenders: Sequence[Contender], url: str) -> None:
        limit = next((contender for contender in contenders if contender.name == "limit"), None)
        if limit is None or limit.excuse(line) or line.source != "postgres":
            return
        if not (self._folder / f"{tables.STREAM}.copy").exists():
            with self._job(line, url) as job:
                subprocess.run(limit.command(job.text(), "prepare"), check=True)

    @contextmanager
    def _job(self, line: Line, url: str) -> Iterator[Job]:
        """Give an empty folder and an empty database; remove both afterwards."""
        folder = self._folder / "work"
        folder.mkdir()
        (folder / "files").mkdir()
        target = self._server.fresh_database()
        job = Job(
            source=line.source,
            target=line.target,
            stream=tables.ONE_ROW_STREAM if line.one_row else tables.STREAM,
            rows=self._asked.records if line.source == "rest" else self._asked.rows,
            source_url=self._source,
            target_url=target,
            rest_url=url,
            folder=str(folder),
        )
        try:
            yield replace(job, rows=1) if line.one_row else job
        finally:
            shutil.rmtree(folder)
            self._server.drop_database(target)

    @contextmanager
    def _api(self, line: Line) -> Iterator[str]:
        """Serve the API's pages from a process of its own, for the lines that read them."""
        if line.source != "rest":
            yield ""
            return
        script = Path(__file__).with_name("rest_server.py")
        command = [sys.executable, str(script), str(self._asked.records), str(_PAGE_RECORDS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                said = json.loads(process.stdout.readline())
                print(f"{self._asked.records:,} records, {said['megabytes']} MB of JSON", flush=True)
                yield f"http://127.0.0.1:{said['port']}"
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
