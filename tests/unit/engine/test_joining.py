"""Pages are joined where that costs no waiting."""

from collections.abc import Iterator

import pytest

from headrace.connectors import Checkpoint
from headrace.engine.arrow import joining
from headrace.engine.arrow.joining import joined


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine is busy with, only a wait of a second is a slow source here."""
    monkeypatch.setattr(joining, "_QUICK_SECONDS", 1.0)
    monkeypatch.setattr(joining, "_LONGEST_SECONDS", 60.0)


def test_quick_pages_become_one_of_the_size_asked_for() -> None:
    pages = [[{"n": page * 10 + n} for n in range(10)] for page in range(7)]

    found = list(joined(pages, records=30))

    assert [len(page) for page in found] == [30, 30, 10]
    assert [record for page in found for record in page] == [record for page in pages for record in page]


def test_a_page_that_is_large_already_goes_on_with_what_came_before_it() -> None:
    assert [len(page) for page in joined([[{}], [{}] * 50, [{}]], records=30)] == [51, 1]


def test_nothing_is_kept_back_across_a_checkpoint() -> None:
    checkpoint = Checkpoint(cursor=1)

    assert list(joined([[{"n": 1}], checkpoint, [{"n": 2}], []])) == [[{"n": 1}], checkpoint, [{"n": 2}]]


def test_a_page_is_not_kept_back_while_a_slow_source_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_QUICK_SECONDS", 0.0)
    asked = []

    def pages() -> Iterator[list[dict[str, int]]]:
        for number in range(3):
            asked.append(number)
            yield [{"n": number}]

    for handed_on, page in enumerate(joined(pages())):
        assert page == [{"n": handed_on}]
        assert asked == list(range(handed_on + 1))


def test_a_stream_without_pages_yields_nothing() -> None:
    assert list(joined([])) == []
