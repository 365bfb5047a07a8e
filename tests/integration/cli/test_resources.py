import os
import subprocess
import sys

import pytest

from headrace.cli.platform.resources import tree_usage


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_memory_is_counted_over_a_process_and_its_descendants() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1)
    with child:
        assert child.stdout is not None
        child.stdout.readline()

        usages = {usage.pid: usage for usage in tree_usage(os.getpid())}
        child.kill()

    assert usages[child.pid].pss_bytes > 1_000_000
    assert "input()" in usages[child.pid].command
    assert os.getpid() in usages


def test_a_process_that_is_gone_takes_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert tree_usage(child.pid) == []
