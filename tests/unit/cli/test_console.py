import pytest

from headrace.cli.console import duration_text, run_time, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (47_838, "47.8 kB"), (2.5e12, "2.5 TB")],
)
def test_sizes_are_written_in_the_unit_that_suits_them(count: int | None, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(6.72, "6.7 s"), (42.4, "42 s"), (185, "3 min 05 s")])
def test_durations_are_written_as_precisely_as_they_matter(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_run_that_has_not_ended_took_no_time_yet() -> None:
    assert run_time({"started_at": "2024-01-15T16:00:00Z", "finished_at": None}) is None


@pytest.mark.parametrize(
    ("finished_at", "text"),
    [
        ("2024-01-15T16:00:00Z", "under 1 s"),
        ("2024-01-15T16:00:02Z", "2 s"),
        ("2024-01-15T16:05:23Z", "5 min 23 s"),
    ],
)
def test_a_run_took_the_time_between_its_start_and_its_end(finished_at: str, text: str) -> None:
    assert run_time({"started_at": "2024-01-15T16:00:00Z", "finished_at": finished_at}) == text
