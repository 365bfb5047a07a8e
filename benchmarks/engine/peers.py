"""The contenders, and the environments that the peers among them run in: outside of the repository."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.lines import Line

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headrace-bench"
_SCRIPTS = Path(__file__).parent / "contenders"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of moving the data."""

    name: str
    script: str
    packages: tuple[str, ...] = ()  # of an environment of its own; none: this one

    @property
    def python(self) -> Path:
        """The interpreter that runs the script."""
        return CACHE / self.name / "bin" / "python" if self.packages else Path(sys.executable)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs it."""
        return [str(self.python), str(_SCRIPTS / self.script), *arguments]

    def excuse(self, line: Line) -> str | None:
        """Return why it cannot run a line at all; None when it is to be tried."""
        if self.name == "limit" and (line.one_row or line.source == "generated"):
            return "no limit is defined for this line"
        if line.source == "generated" and self.packages:
            return "measures the engine's memory; peers are not asked"
        if self.name == "sling" and line.source == "rest":
            return "not tried: its API sources belong to its paid plan"
        if self.name == "bizon" and line.source == "postgres":
            return "reads no database"
        if self.name == "bizon" and line.target == "postgres":
            return "writes to no PostgreSQL"
        return None

    def install(self) -> str | None:
        """Make its environment where there is none yet; return why that failed, or None."""
        if not self.packages or (CACHE / self.name / "installed").exists():
            return None
        uv = str(Path(sys.executable).with_name("uv"))
        made = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(CACHE / self.name)]
        filled = [uv, "pip", "install", "--quiet", "--python", str(self.python), *self.packages]
        for command in (made, filled):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"cannot be installed here: {done.stderr.strip().splitlines()[-1][:120]}"
        (CACHE / self.name / "installed").touch()
        return None


CONTENDERS = (
    Contender(name="limit", script="limit.py"),
    Contender(name="headrace", script="headrace_engine.py"),
    Contender(
        name="dlt",
        script="dlt_pipeline.py",
        packages=(
            "dlt[duckdb,filesystem,parquet,postgres,sql_database]==1.31.0",
            "psycopg[binary]==3.3.9",
            "connectorx==0.4.6",
            "adbc-driver-postgresql==1.13.0",
            "pyarrow==26.0.1",
            "duckdb==2.0.1",
        ),
    ),
    # The last version whose program comes in a wheel; later ones fetch it from elsewhere when first run.
    Contender(name="sling", script="sling_cli.py", packages=("sling-linux-amd64==1.4.11",)),
    Contender(name="bizon", script="bizon_run.py", packages=("bizon==0.6.4",)),
)
