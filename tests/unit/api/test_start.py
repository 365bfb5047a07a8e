"""What the service imports when it starts."""

import subprocess
import sys

HEAVY = ("pyarrow", "duckdb", "dagster", "adbc_driver_manager", "alembic", "swagger_ui", "pandas", "numpy")


def test_starting_the_service_imports_no_library_that_moves_data():
    script = f"import sys, headrace_api.server; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
