import pytest

from headrace.cli.console import duration_text, run_seconds, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (47_838, "47.8 kB"), (2.5e12, "2.5 TB")],
)
def test_sizes_are_written_in_the_unit_that_suits_them(count: int | None, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.844, "0.84 s"), (42.4, "42 s"), (185, "3 min 05 s")])
def test_durations_are_written_as_precisely_as_they_matter(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_run_that_has_not_ended_took_no_time_yet() -> None:
    assert run_seconds({"started_at": "2024-01-15T16:00:00Z", "finished_at": None}) is None


def test_a_run_took_the_time_between_its_start_and_its_end() -> None:
    run = {"started_at": "2024-01-15T16:00:00Z", "finished_at": "2024-01-15T16:05:23Z"}

    assert run_seconds(run) == 323
