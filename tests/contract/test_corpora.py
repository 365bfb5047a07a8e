"""Files that nobody here wrote are read exactly or refused, as docs/corpora.md says; none is a crash."""

import pytest
from corpora import CORPORA
from corpora_page import PAGE, page, rows_of

_MISSING = "the folder of other projects' files is not beside the checkout"


@pytest.mark.skipif(not CORPORA.is_dir(), reason=_MISSING)
def test_the_page_on_other_projects_files_is_what_happens() -> None:
    found = page()

    assert PAGE.read_text() == found
    assert "unlike DuckDB" not in found


@pytest.mark.skipif(not CORPORA.is_dir(), reason=_MISSING)
@pytest.mark.parametrize("first", ["y", "n"])
def test_json_is_accepted_where_it_must_be_and_refused_where_it_must_be(first: str) -> None:
    outcomes = {path.name: rows_of(path) for path in sorted(CORPORA.glob(f"json/{first}_*.json"))}

    wrong = [name for name, found in outcomes.items() if isinstance(found, str) != (first == "n")]
    assert outcomes
    assert wrong == []
