"""docs/references.md: its example is a pipeline, its provider works, and every kind and setting is there."""

import json
import re
from pathlib import Path

import pytest

from headrace.pipeline.document import parse_config
from headrace.pipeline.references.resolver import _BUILT_IN, ReferenceUnresolved
from headrace.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "references.md").read_text()


def block(language: str) -> str:
    [text] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return text


def test_the_example_is_a_valid_pipeline():
    parse_config(json.loads(block("json")))


def test_the_provider_of_one_s_own_works(tmp_path: Path):
    names: dict = {}
    exec(block("python"), names)
    provider = names["AcmeProvider"](Settings(home=tmp_path))

    assert provider.value("acme://token") == "s3cret"
    with pytest.raises(ReferenceUnresolved, match="acme://x cannot be resolved: Acme keeps no such secret"):
        provider.value("acme://x")


def test_every_kind_and_every_setting_of_references_is_there():
    settings = [
        name for name in Settings.model_fields if name.startswith(("reference_", "vault_", "google_"))
    ]

    for name in (
        *(f"{scheme}://" for scheme in _BUILT_IN),
        *(f"HEADRACE_{name}".upper() for name in settings),
    ):
        assert name in PAGE
