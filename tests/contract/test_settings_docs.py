"""docs/settings.md lists every setting with its variable and default, and nothing else."""

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from headrace.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def documented() -> dict[str, tuple[str, str]]:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): (cells[2].strip(" `"), cells[3].strip()) for cells in rows}


def variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"HEADRACE_{name.upper()}"


def default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented_with_its_default(name: str):
    field = Settings.model_fields[name]

    documented_default, meaning = documented()[variable(name, field)]

    assert documented_default == default(field)
    assert meaning.endswith(".")


def test_no_other_setting_is_documented():
    assert set(documented()) == {variable(name, field) for name, field in Settings.model_fields.items()}


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())
