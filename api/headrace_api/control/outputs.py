"""How the control loops remove output files."""

import shutil
from pathlib import Path
from uuid import UUID


def remove_output(outputs: Path, run_id: UUID) -> None:
    """Remove a run's folder, even while another process removes it. Raises OSError."""
    folder = outputs / str(run_id)
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # the other process was faster with one file; remove what is left
