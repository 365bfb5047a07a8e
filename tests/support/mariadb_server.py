"""A real MariaDB server for the tests, where the system has one: no wheel brings it."""

import datetime as dt
import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from waiting import free_port

PASSWORD = "correct-horse-'\"battery"
MISSING = "MariaDB is not installed: `apt-get install mariadb-server`, as .ci/run does"
_SETTINGS = (
    "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M", "--performance-schema=OFF", "--bind-address=127.0.0.1",
    "--innodb-fast-shutdown=2", "--skip-name-resolve", "--innodb-log-file-size=16M",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MariaDBServer:
    """A running server on loopback, with user `loader` and `PASSWORD`."""

    port: int
    socket: Path
    certificate: Path  # which signs itself, for 127.0.0.1
    _numbers: Iterator[int]

    def fresh_database(self) -> dict[str, Any]:
        """Make an empty database and return the configuration that reaches it."""
        name = f"test_{next(self._numbers)}"
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET latin1")  # not what connectors write
        return {
            "host": "127.0.0.1", "port": self.port, "database": name, "user": "loader", "password": PASSWORD,
        }  # fmt: skip

    def drop_database(self, config: dict[str, Any]) -> None:
        """Remove a database that `fresh_database` made."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {config['database']}")

    def connection(self, database: str | None = None) -> Any:
        """Open an administrator's session."""
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True, charset="utf8mb4"
        )


def is_installed() -> bool:
    """Whether this machine has the server."""
    return _program("mariadbd") is not None and _program("mariadb-install-db") is not None


@contextmanager
def run_mariadb(port: int | None = None) -> Iterator[MariaDBServer]:
    """Start a server in a folder of its own, fast and forgetful; stop it and remove all of it."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-mdb-"))
    try:
        _initialize(folder)
        server = MariaDBServer(
            port=port or free_port(), socket=folder / "s", certificate=certify(folder), _numbers=count(1)
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    str(_program("mariadbd")), "--no-defaults", *_as_root(), *_SETTINGS,
                    f"--datadir={folder / 'data'}",
                    f"--ssl-cert={server.certificate}", f"--ssl-key={folder / 'key.pem'}",
                    f"--port={server.port}", f"--socket={server.socket}", f"--pid-file={folder / 'pid'}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            _wait_until_ready(server, process, folder / "log")
            yield server
        finally:
            process.kill()  # nothing here is worth a clean end
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """Where a program is; not every user looks for those of the system."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


def _initialize(folder: Path) -> None:
    done = subprocess.run(
        [
            str(_program("mariadb-install-db")), "--no-defaults", *_as_root(), f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal", "--skip-test-db",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def certify(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MariaDB of the tests")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, no_password))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "certificate.pem"


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _wait_until_ready(server: MariaDBServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(server.socket))
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
    with server.connection() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER loader@'127.0.0.1' IDENTIFIED BY %s", [PASSWORD])
        cursor.execute("GRANT ALL ON *.* TO loader@'127.0.0.1'")
