"""References to files, and providers that another package brings."""

import sys
from pathlib import Path

import pytest

from headrace.connectors.contract.references import schemes
from headrace.pipeline.references import resolver as resolving
from headrace.pipeline.references.resolver import ReferenceUnresolved, Resolver
from headrace.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def resolve(settings):
    """Resolve a secret."""
    return lambda text: Resolver(settings).resolve(text, is_secret=True)


def failure(resolve, reference: str) -> str:
    with pytest.raises(ReferenceUnresolved) as caught:
        resolve(reference)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.detail.startswith(f"{reference} cannot be resolved: ")
    assert "s3cret" not in caught.value.detail
    return caught.value.detail


@pytest.fixture
def forget_packages():
    """Look up which packages bring providers, before the test and after it."""

    def forget() -> None:
        schemes.cache_clear()
        resolving._providers.cache_clear()

    forget()
    yield
    forget()
    sys.modules.pop("acme_vault", None)


def test_a_file_s_text_is_its_value_without_its_last_line_s_end(resolve, settings):
    settings.references.mkdir()
    (settings.references / "token").write_text("s3cret\n")
    (settings.references / "keys").mkdir()
    (settings.references / "keys" / "my key.json").write_text('{\n"a": 1\n}\n')

    assert resolve("file://token") == "s3cret"
    assert resolve(f"file://{settings.references}/token") == "s3cret"
    assert resolve("file://keys/my%20key.json") == '{\n"a": 1\n}'


def test_a_file_outside_the_folder_is_refused_however_it_is_named(resolve, settings, tmp_path):
    settings.references.mkdir()
    outside = tmp_path / "keyring"
    outside.write_text("s3cret")
    (settings.references / "link").symlink_to(outside)
    (settings.references / "up").symlink_to(tmp_path)

    for name in (str(outside), "../keyring", "%2e%2e/keyring", "link", "up/keyring", "/proc/self/environ"):
        detail = failure(resolve, f"file://{name}")
        assert f"files in {settings.references} only" in detail


def test_a_file_that_is_no_secret_s_is_told(resolve, settings):
    settings.references.mkdir()
    (settings.references / "empty").touch()
    (settings.references / "large").write_bytes(b"x" * 65_537)
    (settings.references / "binary").write_bytes(b"\xff\xfe")

    assert "No such file" in failure(resolve, "file://nothing")
    assert "No such file" in failure(resolve, "file://nothing%00")
    assert "Is a directory" in failure(resolve, "file://.")
    assert "empty or has over" in failure(resolve, "file://empty")
    assert "empty or has over" in failure(resolve, "file://large")
    assert "not UTF-8" in failure(resolve, "file://binary")


def test_a_package_brings_its_own_kind(settings, resolve, tmp_path, monkeypatch, forget_packages):
    (tmp_path / "acme_vault.py").write_text(
        "from headrace.pipeline.references.resolver import Provider\n"
        "class Acme(Provider):\n"
        "    def value(self, reference):\n"
        "        if 'bad' in reference: raise ValueError('s3cret')\n"
        "        return reference.removeprefix('acme://').upper()\n"
    )
    metadata = tmp_path / "acme-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[headrace.references]\nacme = acme_vault:Acme\nenv = acme_vault:Acme\ngone = acme_gone:Acme\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PIPELINE_X", "from the environment")

    assert resolve("acme://a and ${acme://b}") == "acme://a and B"
    assert resolve("acme://a") == "A"
    assert resolve("env://PIPELINE_X") == "from the environment"
    assert "stopped with ValueError" in failure(resolve, "acme://bad")
    assert "cannot be imported" in failure(resolve, "gone://x")
