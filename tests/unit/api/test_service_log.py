"""How the service's own log describes an error."""

from headrace.errors import Unavailable
from headrace_api.service_log import describe


def test_an_error_of_ours_is_one_line_with_dagsters_message() -> None:
    error = Unavailable("It failed.")
    error.add_note("The disk is full.")

    assert describe(error) == "unavailable: It failed. The disk is full."


def test_any_other_error_is_a_traceback_without_secrets() -> None:
    try:
        raise RuntimeError("cannot connect to postgresql://owner:hunter2@db/records")
    except RuntimeError as error:
        told = describe(error)

    assert "Traceback" in told
    assert "RuntimeError" in told
    assert "hunter2" not in told
