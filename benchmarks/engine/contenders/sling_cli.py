"""sling on one job: its own command, fed by its environment."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Become sling."""
    targets = {
        "postgres": ("TARGET", "public.copy", job["target_url"] + "?sslmode=disable"),
        "parquet": ("", f"file://{job['folder']}/files/copy.parquet", ""),
        "duckdb": ("TARGET", "main.copy", f"duckdb://{job['folder']}/copy.duckdb"),
    }
    connection, name, url = targets[job["target"]]
    os.environ |= {
        "SOURCE": job["source_url"] + "?sslmode=disable",
        "SLING_HOME_DIR": f"{job['folder']}/sling",
        "SLING_DISABLE_TELEMETRY": "TRUE",
    }
    command = [
        "sling",
        "run",
        "--src-conn",
        "SOURCE",
        "--src-stream",
        job["stream"],
        "--mode",
        "full-refresh",
    ]
    if connection:
        os.environ[connection] = url
        command += ["--tgt-conn", connection]
    package = find_spec("sling_linux_amd64")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "bin" / "sling-linux-amd64"
    program.chmod(0o755)
    os.execv(program, [*command, "--tgt-object", name])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
