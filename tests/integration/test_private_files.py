import os
import stat
from pathlib import Path

import pytest

from headrace import private_files
from headrace.private_files import NotPrivate


def secret(path: Path, mode: int = 0o600) -> Path:
    path.write_bytes(b"secret")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ours_alone_is_read(tmp_path: Path, mode: int):
    assert private_files.read_private(secret(tmp_path / "file", mode)) == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666])
def test_a_file_with_any_bit_for_others_is_refused(tmp_path: Path, mode: int):
    with pytest.raises(NotPrivate, match=f"mode {mode:04o}"):
        private_files.read_private(secret(tmp_path / "file", mode))


@pytest.mark.parametrize(("mode", "accepted"), [(0o440, True), (0o460, False), (0o444, False)])
def test_the_group_may_at_most_read_where_that_is_allowed(tmp_path: Path, mode: int, accepted: bool):
    path = secret(tmp_path / "file", mode)

    if accepted:
        assert private_files.read_private(path, group_may_read=True) == b"secret"
    else:
        with pytest.raises(NotPrivate):
            private_files.read_private(path, group_may_read=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path):
    os.chown(secret(tmp_path / "file"), 65534, -1)

    with pytest.raises(NotPrivate, match="belongs to user 65534"):
        private_files.read_private(tmp_path / "file")


def test_a_link_is_refused(tmp_path: Path):
    (tmp_path / "link").symlink_to(secret(tmp_path / "file"))

    with pytest.raises(NotPrivate, match="symbolic link"):
        private_files.read_private(tmp_path / "link")


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(NotPrivate, match="not a regular file"):
        private_files.read_private(tmp_path / "pipe")


def test_a_folder_is_not_read_as_a_file(tmp_path: Path):
    with pytest.raises(NotPrivate, match="not a regular file"):
        private_files.read_private(tmp_path)


def test_a_file_too_large_to_be_a_secret_is_refused(tmp_path: Path):
    os.truncate(secret(tmp_path / "file"), 2**20 + 1)

    with pytest.raises(NotPrivate, match="larger than"):
        private_files.read_private(tmp_path / "file")


def test_an_absent_file_is_reported_as_the_system_does(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        private_files.read_private(tmp_path / "file")


def test_a_linked_folder_is_refused(tmp_path: Path):
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "folder")

    with pytest.raises(NotPrivate, match="not a folder"):
        private_files.check_private_folder(tmp_path / "link")


def test_a_folder_is_made_private_with_its_parents(tmp_path: Path):
    private_files.make_private_folder(tmp_path / "a" / "b")
    private_files.make_private_folder(tmp_path / "a" / "b")

    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_replacing_swaps_the_content_and_leaves_nothing_else(tmp_path: Path):
    path = secret(tmp_path / "file", 0o644)

    private_files.replace_private(path, b"new")

    assert private_files.read_private(path) == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = secret(tmp_path / "file")
    monkeypatch.setattr(os, "fsync", disk_full)

    with pytest.raises(OSError, match="No space"):
        private_files.replace_private(path, b"new")

    assert path.read_bytes() == b"secret"
    assert list(tmp_path.iterdir()) == [path]


def test_creating_leaves_an_existing_file_as_it_is(tmp_path: Path):
    assert private_files.create_private(tmp_path / "file", b"first")
    assert not private_files.create_private(tmp_path / "file", b"second")

    assert private_files.read_private(tmp_path / "file") == b"first"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
