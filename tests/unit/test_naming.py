import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import naming

PIPELINE = UUID("0b9c3d52-8d0e-4a43-9f3e-0d6a3f0f8a55")


def test_the_names_of_a_pipeline_never_change():
    assert naming.job_name(PIPELINE) == "p_0b9c3d528d0e4a439f3e0d6a3f0f8a55"
    assert naming.schedule_name(PIPELINE) == "p_0b9c3d528d0e4a439f3e0d6a3f0f8a55_schedule"
    assert naming.asset_key(PIPELINE, "postgres", "public.users") == (
        "pipelines",
        "0b9c3d528d0e",
        "postgres",
        "public.users",
    )


@given(st.uuids())
def test_a_name_leads_back_to_its_pipeline(pipeline_id: UUID):
    assert naming.pipeline_id_of(naming.job_name(pipeline_id)) == pipeline_id
    assert naming.pipeline_id_of(naming.schedule_name(pipeline_id)) == pipeline_id


@given(st.uuids())
def test_names_are_ones_that_dagster_takes(pipeline_id: UUID):
    for name in (naming.job_name(pipeline_id), naming.schedule_name(pipeline_id)):
        assert re.fullmatch(r"[A-Za-z0-9_]+", name)


@given(st.uuids(), st.text(), st.text())
def test_all_assets_of_a_pipeline_share_its_prefix(pipeline_id: UUID, source: str, stream: str):
    key = naming.asset_key(pipeline_id, source, stream)

    assert key[:2] == naming.asset_prefix(pipeline_id)
    assert key[2:] == (source, stream)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "p_",
        "__ASSET_JOB",
        PIPELINE.hex,
        str(PIPELINE),
        f"p_{PIPELINE}",
        f"p_{PIPELINE.hex.upper()}",
        f"p_{PIPELINE.hex}_sensor",
        f"p_{PIPELINE.hex}_schedule_schedule",
        f"{PIPELINE.hex}_schedule",
        f"p_{{{PIPELINE.hex}}}",
        f"p_{PIPELINE.hex[:-1]}",
    ],
)
def test_any_other_name_leads_to_no_pipeline(name: str):
    assert naming.pipeline_id_of(name) is None


@given(st.text())
def test_any_text_is_safe_to_ask_about(name: str):
    found = naming.pipeline_id_of(name)

    assert found is None or name in (naming.job_name(found), naming.schedule_name(found))
