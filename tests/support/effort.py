"""How often a test repeats something: a sample by default, all of it in `make test-long`.

The examples that Hypothesis chooses are the same in each run of a sample: what fails for one change fails for
all. `make test-long` draws new ones.
"""

import os

import hypothesis

LONG = bool(os.environ.get("HEADRACE_TEST_LONG"))
_MORE = 10  # times as many examples


def times(name: str, sample: int, long: int) -> int:
    """Return how often to repeat; the variable `HEADRACE_TEST_<name>` overrides both numbers."""
    return int(os.environ.get(f"HEADRACE_TEST_{name}") or (long if LONG else sample))


def examples(sample: int) -> int:
    """Return how many examples Hypothesis tries."""
    return sample * _MORE if LONG else sample


def load_profile() -> None:
    """Set the defaults of every property: no deadlines, because a deadline would measure the other tests."""
    hypothesis.settings.register_profile(
        "headrace",
        deadline=None,
        derandomize=not LONG,
        max_examples=examples(100),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        print_blob=True,
    )
    hypothesis.settings.load_profile("headrace")
