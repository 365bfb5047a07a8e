"""The sources of histories, by name."""

from collections.abc import Iterator
from contextlib import contextmanager

from file_sources import CsvSource, FilesSource, ParquetSource
from history_steps import Plan
from served_sources import PythonSource, RestSource
from source_system import Place, SourceSystem
from sql_sources import DuckdbSource, MysqlSource, PostgresSource, SqliteSource

SOURCES: dict[str, type[SourceSystem]] = {
    source.name: source
    for source in (
        SqliteSource, DuckdbSource, PostgresSource, MysqlSource,
        FilesSource, CsvSource, ParquetSource, RestSource, PythonSource,
    )
}  # fmt: skip


@contextmanager
def made(place: Place, plan: Plan) -> Iterator[SourceSystem]:
    """Make a source; remove it at the end."""
    source = SOURCES[plan.source](place, plan)
    try:
        yield source
    finally:
        source.close()
