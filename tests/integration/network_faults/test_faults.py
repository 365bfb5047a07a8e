"""Every connector that has a network meets every fault: the run ends in time, and the next one is exact.

A few of the cells run with each change. HEADRACE_TEST_FAULTS=all runs all of them, in a quarter of an hour.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from net_faults.cases import CASES, Case, Servers
from net_faults.faults import CAUSES, Cause, cells
from net_faults.outcomes import seen
from net_faults.page import row, title, written

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:dlt")]

_SAMPLE = {
    "postgres source": {"the answer drips for ever"},
    "postgres destination": {
        "another session holds a lock", "the server's disk is full",
        "the server dies in the commit, which is done",
    },
    "mysql source": {"the answer is cut off"},
    "mysql destination": {"the server's disk is full", "the server dies before the commit"},
    "rest source": {
        "503 with a Retry-After of a day", "the certificate is not trusted", "the document is broken",
    },
    "files source, http": {"the answer is cut off within its headers"},
    "file destination, s3": {"507: the store is full"},
    "bigquery destination": {"the server dies in the commit, which is done"},
    "vault:// references": {"the answer is cut off"},
}  # fmt: skip
_ALL = os.environ.get("HEADRACE_TEST_FAULTS") == "all"
_CELLS = [(case, cause) for case, cause in cells(CASES) if _ALL or cause.name in _SAMPLE.get(case.name, ())]


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Servers:
    """The servers of the test session."""

    return Servers(
        postgres=lambda: request.getfixturevalue("postgres_server"),
        mariadb=lambda: request.getfixturevalue("mariadb_server"),
        s3=lambda: request.getfixturevalue("s3_server"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for one pipeline."""
    yield tmp_path / "pipeline"
    shutil.rmtree(tmp_path / "pipeline", ignore_errors=True)


@pytest.mark.parametrize(("case", "cause"), _CELLS, ids=lambda value: value.name)
def test_a_fault_ends_in_time_and_leaves_nothing_by_halves(
    case: type[Case], cause: Cause, servers: Servers, folder: Path
) -> None:
    cell = seen(case, cause, servers, folder)

    assert cell.faults == ()
    assert row(cause, cell) == written()[title(case), cause.name]


def test_the_page_has_a_line_for_every_fault_of_every_connector() -> None:
    assert set(written()) == {(title(case), cause.name) for case, cause in cells(CASES)}


def test_no_fault_of_the_sample_was_renamed() -> None:
    names = {cause.name for cause in CAUSES}

    assert {name for chosen in _SAMPLE.values() for name in chosen} <= names
