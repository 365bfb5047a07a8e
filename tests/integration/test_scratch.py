"""What is temporary is found again after a kill of its owner, and never taken from a living one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

from headrace import private_files, scratch

_TAKES = """
import os, sys, tempfile, time
from pathlib import Path
from headrace import scratch
scratch.take(Path(sys.argv[1]), "api")
Path(tempfile.mkdtemp(), "file").write_text("x")
print(tempfile.gettempdir(), flush=True)
time.sleep(60)
"""


def test_everything_temporary_of_a_run_is_in_its_folder_and_goes_with_it(tmp_path: Path) -> None:
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")

    with scratch.held(tmp_path / scratch.name_of(uuid4(), 1)) as folder:
        made = Path(tempfile.mkdtemp())
        child = [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"]
        childs = Path(subprocess.check_output(child, text=True).strip())

    assert made.parent == childs.parent == folder
    assert not folder.exists()
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before


def test_a_folder_names_the_run_and_the_fence() -> None:
    run_id = uuid4()

    assert scratch.claim_of(scratch.name_of(run_id, 12)) == (run_id, 12)
    assert scratch.claim_of("lost+found") is None


def test_an_unfinished_file_elsewhere_goes_with_the_folder_and_a_finished_one_stays(tmp_path: Path) -> None:
    folder, finished, unfinished = tmp_path / "folder", tmp_path / "finished", tmp_path / ".unfinished"

    def work() -> None:
        with scratch.held(folder):
            with scratch.elsewhere(finished):
                finished.write_text("rows")
            with scratch.elsewhere(unfinished):
                unfinished.write_text("ro")
                raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()

    assert finished.exists()
    assert not unfinished.exists()
    assert not folder.exists()


def test_a_servers_folder_stays_while_it_lives_and_goes_with_the_next_start_after_its_kill(
    tmp_path: Path,
) -> None:
    servers = [
        subprocess.Popen([sys.executable, "-c", _TAKES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = [Path(server.stdout.readline().strip()) for server in servers if server.stdout]
    servers[0].kill()
    servers[0].wait()

    third = subprocess.Popen([sys.executable, "-c", _TAKES, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert third.stdout is not None
    new = Path(third.stdout.readline().strip())

    assert set(tmp_path.iterdir()) == {folders[1], new}
    for server in (servers[1], third, servers[0]):
        server.kill()
        server.communicate()


def test_a_secret_that_a_killed_process_was_writing_goes_with_the_next_write(tmp_path: Path) -> None:
    left, recent = tmp_path / ".keyring.0123", tmp_path / ".keyring.4567"
    for path in (left, recent):
        path.write_bytes(b"key")
    os.utime(left, (0, 0))

    private_files.replace_private(tmp_path / "keyring", b"new")

    assert sorted(path.name for path in tmp_path.iterdir()) == [".keyring.4567", "keyring"]
