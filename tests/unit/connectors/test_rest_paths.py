"""Paths into answers."""

from typing import Any

import pytest

from headrace.connectors.rest.paths import MISSING, select, steps

DOCUMENT = {
    "data": {"items": [{"id": 1}, {"id": 2}]},
    "a.b": 3,
    "none": None,
    "groups": [{"m": [1, 2]}, {"m": [3]}, {}],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", DOCUMENT),
        ("$", DOCUMENT),
        ("data.items", DOCUMENT["data"]["items"]),
        ("$.data.items[1].id", 2),
        ("data.items[*].id", [1, 2]),
        ("groups[*].m", [1, 2, 3]),
        ("['a.b']", 3),
        ("none", None),
        ("none.x", MISSING),
        ("data.items.id", MISSING),
        ("data.items[9]", MISSING),
        ("nothing", MISSING),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any):
    assert select(DOCUMENT, path) == value


@pytest.mark.parametrize("path", ["a..b", "a[", "a]", "a[-1]", "$$", "a."])
def test_a_senseless_path_is_refused(path: str):
    with pytest.raises(ValueError, match="not a path"):
        steps(path)
