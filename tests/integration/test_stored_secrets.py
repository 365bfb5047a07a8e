"""Settings that lie in files of the home folder."""

import os
import stat
from pathlib import Path

import pytest

from headrace.private_files import NotPrivate
from headrace.settings import load_settings, secrets_folder, store_secret

URL = "postgresql://user:hunter2@db/headrace"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


def test_a_stored_secret_is_read_back_from_a_private_file(tmp_path: Path):
    store_secret(tmp_path, "database_url", URL)

    file = secrets_folder(tmp_path) / "headrace_database_url"
    assert load_settings(tmp_path).sqlalchemy_url == URL
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_storing_a_secret_again_replaces_it(tmp_path: Path):
    store_secret(tmp_path, "database_url", "postgresql://old")
    store_secret(tmp_path, "database_url", URL)

    assert load_settings(tmp_path).sqlalchemy_url == URL


def test_the_environment_wins_over_a_stored_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    store_secret(tmp_path, "database_url", "postgresql://old")
    monkeypatch.setenv("HEADRACE_DATABASE_URL", URL)

    assert load_settings(tmp_path).sqlalchemy_url == URL


@pytest.mark.parametrize("open_to_others", ["file", "folder"])
def test_secrets_that_others_may_read_are_refused(tmp_path: Path, open_to_others: str):
    store_secret(tmp_path, "database_url", URL)
    folder = secrets_folder(tmp_path)
    if open_to_others == "file":
        (folder / "headrace_database_url").chmod(0o644)
    else:
        folder.chmod(0o755)

    with pytest.raises(NotPrivate):
        load_settings(tmp_path)
