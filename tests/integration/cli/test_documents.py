from pathlib import Path

import pytest

from headrace.cli.commands.pipelines import UnreadableFile, read_document


def test_a_pipeline_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("name: Weather\nconfig:\n  source: {name: files}\n")

    assert read_document(file) == {"name": "Weather", "config": {"source": {"name": "files"}}}


def test_a_pipeline_is_read_from_json_by_the_rules_of_json(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.json"
    file.write_text('{"name":\t"Weather", "config": {"limit": 1e3}}')

    assert read_document(file) == {"name": "Weather", "config": {"limit": 1000.0}}


@pytest.mark.parametrize("name", ["pipeline.yaml", "pipeline.json"])
def test_a_malformed_file_is_refused_by_line_and_not_quoted(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text('{"token": "pat-secret",\n "open": [}')

    with pytest.raises(UnreadableFile, match="line 2") as refused:
        read_document(file)

    assert "pat-secret" not in str(refused.value)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_document(tmp_path / "missing.yaml")


def test_a_list_is_no_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- one\n- two\n")

    with pytest.raises(UnreadableFile, match="mapping"):
        read_document(file)
