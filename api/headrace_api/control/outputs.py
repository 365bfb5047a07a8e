"""How the control loops remove output files."""

import shutil
from pathlib import Path
from uuid import UUID


def remove_partial_output(outputs: Path, run_id: UUID) -> None:
    """Remove what a lost worker left unfinished. A finished output stays for the next attempt.

    Raises OSError.
    """
    for path in (outputs / str(run_id)).glob("*.parquet.*"):
        path.unlink(missing_ok=True)


def remove_output(outputs: Path, run_id: UUID) -> None:
    """Remove a run's folder, even while another process removes it. Raises OSError."""
    folder = outputs / str(run_id)
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # the other process was faster with one file; remove what is left
