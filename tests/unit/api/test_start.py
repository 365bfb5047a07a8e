"""What the service needs to start."""

import subprocess
import sys

HEAVY = ("pyarrow", "duckdb", "dagster", "adbc_driver_manager", "alembic", "swagger_ui", "pandas", "numpy")


def test_a_service_that_only_takes_orders_imports_nothing_that_moves_data():
    script = f"import sys, headrace_api.server; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
