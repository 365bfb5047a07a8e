"""Outputs as the control loops remove them."""

import shutil
from pathlib import Path
from uuid import UUID


def remove_partial_output(outputs: Path, run_id: UUID) -> None:
    """Remove what a worker had not finished; a finished output stays for the next attempt. Raises OSError."""
    for path in (outputs / str(run_id)).glob("*.parquet.*"):
        path.unlink(missing_ok=True)


def remove_output(outputs: Path, run_id: UUID) -> None:
    """Remove a run's folder whole, also where another process is removing it. Raises OSError."""
    folder = outputs / str(run_id)
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # what the other one had removed first; what it leaves is ours
