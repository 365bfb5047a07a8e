"""Entity tags in requests."""

import pytest
from starlette.requests import Request

from headrace_api.http.preconditions import MalformedTags, if_match, is_known, revision_tag


def request(**headers):
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def newest():
    return 4


@pytest.mark.parametrize(
    ("header", "revision"),
    [
        ("*", None),
        ('"4"', 4),
        ('"4-masked"', 4),
        ('"3"', 3),
        ('"3", "4"', 4),
        ('"2","3"', 0),
        ('W/"4"', 0),
        ('"x,y", "4"', 4),
        ('"04"', 0),
    ],
)
def test_if_match_names_the_revision_that_may_be_changed(header, revision):
    assert if_match(request(if_match=header)).revision(newest) == revision


def test_without_if_match_any_revision_may_be_changed():
    assert if_match(request()).revision(newest) is None


@pytest.mark.parametrize("header", ["", "4", '"4', '4"', '"4" "5"', '*, "4"', "W/4", '"a b"'])
def test_a_header_that_is_not_a_list_of_tags_is_refused(header):
    with pytest.raises(MalformedTags):
        if_match(request(if_match=header))


@pytest.mark.parametrize(
    ("header", "known"),
    [("*", True), ('"4"', True), ('W/"4"', True), ('"3", "4"', True), ('"3"', False), ('"4-masked"', False)],
)
def test_if_none_match_names_the_tag_that_the_client_has(header, known):
    assert is_known(request(if_none_match=header), revision_tag(4)) is known
