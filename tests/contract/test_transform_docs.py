"""docs/transforms.md: its examples make of the records what it says, and its lists are complete."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.transforms.steps import transformation
from headrace.pipeline.document import parse_config
from headrace.pipeline.transforms import MODULES, Columns, Transform

PAGE = (Path(__file__).parents[2] / "docs" / "transforms.md").read_text()
BLOCKS = re.findall(r"```(?:yaml|json)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines the process by seccomp")
@pytest.mark.parametrize("place", range(0, len(BLOCKS), 3))
def test_an_example_makes_of_the_records_what_the_page_says(place: int):
    example, given, expected = BLOCKS[place : place + 3]
    config = parse_config(yaml.safe_load(example))

    with transformation(config.transforms, check=lambda: None) as transformed:
        made = [row for batch in transformed(arrowize(json.loads(given))) for row in batch.to_pylist()]

    assert json.loads(json.dumps(made, default=str)) == json.loads(expected)


def test_the_page_has_examples_of_every_kind():
    kinds = {kind for block in BLOCKS[::3] for step in yaml.safe_load(block)["transforms"] for kind in step}

    assert kinds == set(Transform.model_fields)


@pytest.mark.parametrize("names", [MODULES, Columns.model_fields], ids=["modules", "keys of columns"])
def test_the_page_names_all(names: Any):
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
