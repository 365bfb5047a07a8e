"""bizon on one job: it writes JSON lines, and reads no database."""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Run it."""
    os.chdir(job["folder"])
    from bizon.engine.engine import RunnerFactory

    source = Path(__file__).with_name("bizon_source.py")
    config = {
        "name": "benchmark",
        "source": {
            "name": "contacts",
            "stream": "contacts",
            "source_file_path": str(source),
            "base_url": job["rest_url"],
            "authentication": {"type": "api_key", "params": {"token": "none"}},
        },
        "destination": {"name": "file", "config": {"destination_id": "copy", "format": "json"}},
        "engine": {
            "backend": {
                "type": "sqlite",
                "config": {"database": "bizon", "schema": "bizon", "syncCursorInDBEvery": 100},
            }
        },
    }
    status = RunnerFactory.create_from_config_dict(config).run()
    with Path("copy.json").open("rb") as file:
        rows = sum(1 for _ in file)
    print(json.dumps({"rows": rows, "status": str(getattr(status, "is_success", status))}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
