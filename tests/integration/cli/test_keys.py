"""The keys of a small installation, from the first to the retirement of its predecessor."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from http_servers.secret_keepers import vault
from http_servers.server import serving

from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.settings import Settings

CONFIG = {
    "name": "creatures",
    "source": {"name": "dummy", "stream": "creatures"},
    "destination": {"name": "logger"},
}


def test_a_key_is_replaced_by_another(
    headrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CONFIG_DIR", str(tmp_path / "config"))
    home = tmp_path / "home"
    with closing(Platform.open(Settings(home=home, config_dir=tmp_path / "config"), migrate=True)) as opened:
        pipeline = Pipelines(opened, opened.owner()).create(PipelineDraft(name="x", config=CONFIG))
    at = ("--home", home)

    first = headrace("keys", "status", "--json", *at).json
    new = headrace("keys", "add", *at).out.strip()
    refused = headrace("keys", "retire", first[0]["key"], *at)
    headrace("keys", "promote", new, *at)
    still_needed = headrace("keys", "retire", first[0]["key"], *at)
    rotated = headrace("keys", "rotate", "--json", *at)
    retired = headrace("keys", "retire", first[0]["key"], *at)
    last = headrace("keys", "status", "--json", *at).json

    assert [(row["seals"], row["stored"], row["missing"]) for row in first] == [(True, 1, False)]
    assert (refused.code, still_needed.code) == (4, 4)
    assert (rotated.code, rotated.json) == (0, {"key": new, "rewrapped": 1, "unopened": []})
    assert retired.code == 0
    assert last == [{"key": new, "seals": True, "stored": 1, "missing": False, "keeper": None}]
    with closing(Platform.open(Settings(home=home, config_dir=tmp_path / "config"))) as opened:
        assert Pipelines(opened, opened.owner()).get_with_config(pipeline.id)[1] == CONFIG


def test_a_keyring_is_given_to_a_keeper_and_taken_back(
    headrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "vault://transit/keys/headrace"
    with serving(vault({}, "hvs.token")) as server:
        monkeypatch.setenv("HEADRACE_CONFIG_DIR", str(tmp_path / "config"))
        monkeypatch.setenv("HEADRACE_VAULT_ADDRESS", server.url)
        monkeypatch.setenv("HEADRACE_VAULT_TOKEN", "hvs.token")
        at = ("--home", tmp_path / "home")
        settings = Settings(home=tmp_path / "home", config_dir=tmp_path / "config")
        Platform.open(settings, migrate=True).close()

        wrapped = headrace("keys", "wrap", address, *at)
        headrace("keys", "add", *at)
        rows = headrace("keys", "status", "--json", *at).json
        shown = headrace("keys", "status", *at).out
        headrace("keys", "unwrap", *at)
        last = headrace("keys", "status", "--json", *at).json

    assert wrapped.code == 0
    assert [row["keeper"] for row in rows] == [address, address]  # a new key is wrapped as the current one is
    assert "KEEPER" in shown
    assert [row["keeper"] for row in last] == [None, None]
    assert [row["key"] for row in last] == [row["key"] for row in rows]


def test_a_keeper_that_refuses_makes_no_keyring(
    headrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(vault({}, "hvs.token")) as server:
        monkeypatch.setenv("HEADRACE_CONFIG_DIR", str(tmp_path / "config"))
        monkeypatch.setenv("HEADRACE_VAULT_ADDRESS", server.url)
        monkeypatch.setenv("HEADRACE_VAULT_TOKEN", "hvs.wrong")
        refused = headrace(
            "keys", "init", "--keeper", "vault://transit/keys/headrace", "--home", tmp_path / "home"
        )

    assert refused.code == 78
    assert "keyring.keeper" in refused.err
    assert not (tmp_path / "config" / "keyring").exists()
