"""What a platform's processes are started with."""

import stat
from pathlib import Path

import pytest

from headrace.cli.connection import Addresses
from headrace.cli.platform.installation import occupy
from headrace.settings import load_settings

URL = "postgresql+psycopg://me:pa55@db.invalid/records"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADRACE_DATABASE_URL", "HEADRACE_ALLOWED_HOSTS", "HEADRACE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_database_url_is_kept_for_this_user_alone(tmp_path: Path) -> None:
    with occupy(tmp_path / "home", port=0, dagster_port=0, database_url=URL):
        pass

    kept = tmp_path / "home" / "secrets" / "headrace_database_url"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert load_settings(tmp_path / "home").sqlalchemy_url == URL


def test_no_secret_is_handed_on_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", URL)
    monkeypatch.setenv("HEADRACE_TOKEN", "headrace_t0ken")

    with occupy(tmp_path / "home", port=0, dagster_port=0) as installation:
        environment = installation.environment

    assert "pa55" not in "".join(environment.values())
    assert "t0ken" not in "".join(environment.values())
    monkeypatch.delenv("HEADRACE_DATABASE_URL")
    assert load_settings(tmp_path / "home").sqlalchemy_url == URL


def test_the_addresses_are_known_while_the_platform_is_up_and_no_longer(tmp_path: Path) -> None:
    with occupy(tmp_path / "home", port=0, dagster_port=0) as installation:
        during = Addresses.read(tmp_path / "home")
        expected = installation.addresses

    assert during == expected
    assert Addresses.read(tmp_path / "home") is None


def test_a_platform_that_listens_everywhere_reaches_its_own_parts_on_loopback(tmp_path: Path) -> None:
    with occupy(tmp_path / "home", host="0.0.0.0", port=0, dagster_port=0) as installation:
        environment = installation.environment

    assert environment["HEADRACE_DAGSTER_HOST"] == "0.0.0.0"
    assert environment["HEADRACE_DAGSTER_URL"].startswith("http://127.0.0.1:")
    assert "127.0.0.1" in environment["HEADRACE_ALLOWED_HOSTS"].split(",")


def test_every_process_has_a_log_of_its_own(tmp_path: Path) -> None:
    with occupy(tmp_path / "home", port=0, dagster_port=0) as installation:
        logs = {child.log for child in installation.children}

    assert len(logs) == len(installation.children) == 4
