"""Environments of what is measured beside Headrace, kept outside the repository."""

import os
import subprocess
import sys
from pathlib import Path

_UV = Path(sys.executable).with_name("uv")


def python_of(name: str, *packages: str) -> Path:
    """Return the interpreter of an environment that has the packages; it is made unless it is there."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = base / "headrace-bench" / name
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        subprocess.run([_UV, "venv", "--quiet", "--allow-existing", folder], check=True)
        subprocess.run([_UV, "pip", "install", "--quiet", "--python", python, *packages], check=True)
        complete.touch()
    return python
