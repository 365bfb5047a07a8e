import os
import traceback
from pathlib import Path

import pytest

from headrace.settings import InvalidSettings, Settings, load_settings

URL = "postgresql://user:hunter2@db/headrace"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("HEADRACE_") or name in ("XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_a_newcomer_needs_no_setting(tmp_path: Path):
    settings = load_settings()

    assert settings.root == tmp_path / ".headrace"
    assert settings.is_embedded
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/.headrace/headrace.db"
    assert settings.api_address == "http://127.0.0.1:8000"
    assert settings.dagster_address == "http://127.0.0.1:3000"


def test_the_environment_sets_every_kind_of_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HEADRACE_DATABASE_URL", URL)
    monkeypatch.setenv("HEADRACE_PORT", "9000")
    monkeypatch.setenv("HEADRACE_ALLOWED_HOSTS", "dagster.example.com, localhost")
    monkeypatch.setenv("HEADRACE_PRIVATE_NETWORKS", "false")

    settings = load_settings()

    assert settings.root == tmp_path / "elsewhere"
    assert settings.sqlalchemy_url == URL
    assert not settings.is_embedded
    assert settings.port == 9000
    assert settings.allowed_hosts == ("dagster.example.com", "localhost")
    assert not settings.private_networks


def test_the_home_that_was_asked_for_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "elsewhere"))

    assert load_settings(tmp_path / "asked").root == tmp_path / "asked"


def test_the_home_stays_where_it_was_after_a_change_of_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    settings = load_settings(Path("home"))
    monkeypatch.chdir("/")

    assert settings.home == settings.root == tmp_path / "home"


def test_a_wrong_value_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HEADRACE_PORT", "hunter2")
    monkeypatch.setenv("HEADRACE_LEASE_SECONDS", "-1")
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "hunter2")

    with pytest.raises(InvalidSettings) as caught:
        load_settings(tmp_path)

    assert [fault.pointer for fault in caught.value.errors] == ["/port", "/lease_seconds", "/log_level"]
    assert caught.value.exit_code == 78
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(caught.value.errors)
    assert caught.value.__context__ is None


def test_settings_show_no_secret(tmp_path: Path):
    settings = Settings(home=tmp_path, database_url=URL, keyring="a2V5")

    assert "hunter2" not in repr(settings)
    assert "a2V5" not in str(settings)


def test_the_configuration_folder_follows_the_desktops_convention(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().user_config_dir == tmp_path / ".config" / "headrace"

    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert load_settings().user_config_dir == tmp_path / ".config" / "headrace"

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert load_settings().user_config_dir == tmp_path / "xdg" / "headrace"

    monkeypatch.setenv("HEADRACE_CONFIG_DIR", str(tmp_path / "own"))
    assert load_settings().user_config_dir == tmp_path / "own"


def test_systemds_credentials_are_found_by_its_own_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert load_settings().credentials_directory == tmp_path


def test_faults_are_injected_only_where_a_second_setting_allows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HEADRACE_FAILPOINTS", str(tmp_path))

    with pytest.raises(InvalidSettings, match="for tests alone"):
        load_settings()
    monkeypatch.setenv("HEADRACE_ALLOW_FAILPOINTS", "true")
    assert load_settings().failpoints == tmp_path
