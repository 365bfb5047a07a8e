"""The list of failpoints, the calls in the code and docs/failpoints.md agree."""

from failpoint_catalogue import PAGE, calls, page

from headrace.failpoint_list import POINTS


def test_every_point_of_the_list_is_reached_somewhere_and_no_other():
    assert set(calls()) == set(POINTS)


def test_the_page_is_made_from_the_list():
    assert PAGE.read_text() == page(), "run .venv/bin/python tests/support/failpoint_catalogue.py"


def test_every_point_says_what_happened_and_who_repairs_it():
    assert all(point.after.endswith(".") and point.repair and point.seconds > 0 for point in POINTS.values())
