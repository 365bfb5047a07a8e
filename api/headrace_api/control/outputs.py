"""Outputs as the control loops remove them."""

import shutil
from pathlib import Path
from uuid import UUID


def remove_output(outputs: Path, run_id: UUID) -> None:
    """Remove a run's folder whole, also where another process is removing it. Raises OSError."""
    folder = outputs / str(run_id)
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # what the other one had removed first; what it leaves is ours
