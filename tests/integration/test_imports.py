"""A process that moves no data imports no library that does: it starts faster and needs less memory."""

import subprocess
import sys

import pytest

DATA = ("pyarrow", "duckdb", "adbc_driver_manager", "numpy", "pandas")
_CONNECTORS = (
    "from headrace.connectors import registry; from headrace.pipeline import document; "
    + "; ".join(
        f"[registry.{kind}(name) for name in registry.{kind}_names()]" for kind in ("source", "destination")
    )
)


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        pytest.param("import headrace_api.server", ("dagster", "alembic", "swagger_ui"), id="the service"),
        pytest.param(_CONNECTORS, ("psycopg", "pymysql", "urllib3"), id="the check of a configuration"),
    ],
)
def test_a_process_without_data_imports_no_library_for_data(code: str, heavy: tuple[str, ...]) -> None:
    script = f"import sys; {code}; print([name for name in {DATA + heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
