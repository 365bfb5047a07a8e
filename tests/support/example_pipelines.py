"""The pipelines of examples/ as a reader has them, at a test's own servers and in its own folder."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from headrace.engine.run import EngineJob, run_pipeline
from headrace.pipeline.resolution import resolve_config
from headrace.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@dataclass(kw_only=True)
class Example:
    """One example's pipeline; `work` stands for /tmp in its paths."""

    folder: Path
    work: Path
    config: dict[str, Any]
    _runs: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    def read(cls, name: str, work: Path, replaced: dict[str, str]) -> "Example":
        """Read an example, with texts of its pipeline replaced, such as an address."""
        text = (EXAMPLES / name / "pipeline.yaml").read_text()
        for old, new in replaced.items():
            assert old in text, f"{old} is not in the pipeline of {name}."
            text = text.replace(old, new)
        document = yaml.safe_load(text.replace("/tmp/", f"{work}/").replace("examples/", f"{EXAMPLES}/"))
        return cls(folder=EXAMPLES / name, work=work, config=document.get("config", document))

    @property
    def destination(self) -> dict[str, Any]:
        """The configuration of the pipeline's destination."""
        config: dict[str, Any] = self.config["destination"]["config"]
        return config

    def run(self) -> int:
        """Run the pipeline once and return the number of rows that it moved."""
        number = next(self._runs)
        job = EngineJob(
            output_path=self.work / f"output-{number}.parquet",
            pipeline_id="example",
            run_id=f"run-{number}",
            log=logging.getLogger("test.examples"),
        )
        return run_pipeline(resolve_config(self.config, Settings(home=self.work / "home")), job).rows

    def seed(self, *arguments: str) -> None:
        """Run the example's seed script as its page says."""
        subprocess.run([sys.executable, str(self.folder / "seed.py"), *arguments], check=True)


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serve a folder as `python3 -m http.server` does; yields the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep quiet."""
