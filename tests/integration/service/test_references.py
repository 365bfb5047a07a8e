"""References in stored pipelines: kept as they are, resolved in a run, and masked in all that it says."""

import logging
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors import local
from headrace.records import Page, RunStatus
from headrace.service.execution import Execution, RunFailed, execute_run
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs

LOG = logging.getLogger("test.references")
TALKATIVE = """
def things(token, folder, log):
    log.info("using %s in %s", token, folder)
    if token == "refused-s3cret":
        from headrace.connectors import Unauthorized
        raise Unauthorized(f"{token} is not known")
    yield {"id": 1, "length": len(token)}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A pipeline whose source logs what it is given; its destination's path has a reference inside."""
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    monkeypatch.setattr(local, "_folder", local.LocalFolder(tmp_path))
    monkeypatch.setenv("PIPELINE_FOLDER", str(tmp_path / "s3cret-folder"))
    (tmp_path / "s3cret-folder").mkdir()
    return {
        "name": "x",
        "source": {
            "name": "python",
            "stream": "things",
            "function": "talkative:things",
            "params": {"folder": "in ${env://PIPELINE_FOLDER}"},
            "secrets": {"token": "env://PIPELINE_TOKEN"},
        },
        "destination": {"name": "duckdb", "config": {"path": "${env://PIPELINE_FOLDER}/it.duckdb"}},
    }


def run(platform: Platform, config: dict[str, Any]) -> Execution:
    pipeline = Pipelines(platform, platform.owner()).create(PipelineDraft(name="X", config=config))
    pending = Runs(platform, platform.owner()).trigger(pipeline.id)
    return execute_run(
        platform, pipeline_id=pipeline.id, run_id=pending.id, dagster_run_id="dagster", log=LOG
    )


def test_a_run_uses_what_references_stand_for_and_says_none_of_it(
    platform: Platform,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PIPELINE_TOKEN", "s3cret-token")

    with caplog.at_level(logging.INFO):
        done = run(platform, config)

    assert done.result.preview == [{"id": "1", "length": "12"}]
    assert "using ********** in in **********" in caplog.text
    assert "s3cret" not in caplog.text
    assert "s3cret" not in done.result.location
    _, stored = Pipelines(platform, platform.owner()).get_with_config(done.run.pipeline_id)
    assert stored == config


def test_an_error_names_the_reference_and_never_the_value(
    platform: Platform, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_TOKEN", raising=False)

    with pytest.raises(RunFailed) as caught:
        run(platform, config)

    [failed], _ = Runs(platform, platform.owner()).list(Page())
    assert (failed.status, failed.error_code) == (RunStatus.FAILED, "reference.unresolved")
    assert caught.value.detail.startswith("env://PIPELINE_TOKEN cannot be resolved: the variable is not set")


def test_a_resolved_value_is_masked_in_the_source_s_own_error(
    platform: Platform, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_TOKEN", "refused-s3cret")

    with pytest.raises(RunFailed) as caught:
        run(platform, config)

    assert caught.value.detail.startswith("********** is not known")
    assert "s3cret" not in caught.value.detail
