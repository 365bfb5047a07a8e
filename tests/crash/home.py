"""A whole platform seen from outside: its commands, ports, tables and /proc. It imports nothing of ours."""

import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from procfs import all_pids, part_of, send, state_of
from steps import LEASE_SECONDS

PATIENCE = float(os.environ.get("HEADRACE_TEST_PATIENCE", "1"))
"""How many times as long everything may take, on a machine that is busy with other things."""
READY_SECONDS = 120.0
_TAGGED = """
query ($tag: String!) {
  runs: runsOrError(filter: {tags: [{key: "headrace/run_id", value: $tag}]}) {
    ... on Runs { results { runId status tags { key value } } }
  }
}"""
_ALL = "{ runs: runsOrError(limit: 1000) { ... on Runs { results { runId status tags { key value } } } } }"


class Away(Exception):
    """The service did not answer: no connection, or one that ended."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the REST service."""

    status: int
    body: Any
    headers: dict[str, str]
    seconds: float


@dataclass(kw_only=True)
class Home:
    """A home folder and the `headrace up` that serves it. `database_url` None: the records are in SQLite."""

    folder: Path
    database_url: str | None = None
    direct_url: str | None = None  # the same database, past the proxy
    environment: dict[str, str] = field(default_factory=dict)
    lease_seconds: float | None = LEASE_SECONDS
    problems: list[str] = field(default_factory=list)  # answers that no service may give

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.temporary = self.folder / "tmp"
        self.faults = self.folder / "faults"
        for folder in (self.temporary, self.faults):
            folder.mkdir(parents=True, exist_ok=True)
        self.port, self.dagster_port = _free_port(), _free_port()
        self.token = ""
        self.process: subprocess.Popen[bytes] | None = None
        if self.database_url is not None:
            self._command("keys", "init")

    # Processes

    def start(self) -> None:
        """Start `headrace up`."""
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headrace.cli.main", "up", "--host", "127.0.0.1",
                 "--port", str(self.port), "--dagster-port", str(self.dagster_port)],
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until the platform says that it is ready; return how long that took. Raises TimeoutError."""
        started = time.monotonic()
        while not self.is_ready():
            if time.monotonic() - started > seconds * PATIENCE:
                raise TimeoutError(f"not ready within {seconds} s\n{self.log_ends()}")
            assert self.process is not None
            if self.process.poll() is not None:
                raise TimeoutError(f"`up` ended with {self.process.returncode}\n{self.log_ends()}")
            time.sleep(0.25)
        if not self.token:
            self.token = (self.home / "owner.token").read_text().strip()
        return time.monotonic() - started

    def is_ready(self) -> bool:
        """Whether the platform says that it is ready."""
        try:
            return self.ask("GET", "/api/ready", timeout=15).status == 200
        except Away:
            return False

    def end(self) -> None:
        """Kill everything."""
        self.kill("all")
        if self.process is not None:
            self.process.wait()

    def kill(self, part: str) -> int:
        """Kill the processes of a part, or all at once; return how many there were."""
        killed = 0
        while pids := self.pids(part):
            send(pids, signal.SIGKILL)
            killed += len(pids)
            if part != "all":
                break
            time.sleep(0.02)  # one that was just being forked is found in the next round
        if part in ("up", "all") and self.process is not None:
            self.process.wait()
        return killed

    def pause(self, part: str) -> Callable[[], None]:
        """Stop the processes of a part; return what lets them go on."""
        paused = self.pids(part)
        send(paused, signal.SIGSTOP)
        return lambda: send(paused, signal.SIGCONT)

    def second_service(self) -> Callable[[], None]:
        """Start one more REST service on the home, with its own control loops; return what kills it."""
        more = {
            "HEADRACE_PORT": str(_free_port()),
            "HEADRACE_DAGSTER_PORT": str(self.dagster_port),
            "HEADRACE_DAGSTER_URL": f"http://127.0.0.1:{self.dagster_port}",
        }
        with (self.folder / "second.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "headrace_api"],
                env=self._environment() | more, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

        def end() -> None:
            process.kill()
            process.wait()

        return end

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part."""
        return [pid for pid, its in self.parts().items() if part in ("all", its)]

    def parts(self) -> dict[int, str]:
        """Return which part each of the home's processes is."""
        own = {pid: found for pid in all_pids() if (found := self._look(pid)) is not None}
        return {pid: part_of(pid, own) for pid in own}

    def _look(self, pid: int) -> list[str] | None:
        """Return the command of a process of this home; None: it is none, or has ended."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"HEADRACE_HOME={self.home}".encode() not in environment or state_of(pid) == "Z":
                return None
            return Path(f"/proc/{pid}/cmdline").read_text().strip("\0").split("\0")
        except OSError:
            return None

    # REST and GraphQL

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        port: int | None = None,
        timeout: float = 40,
    ) -> Answer:
        """Return the answer to a request. Raises Away."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"Idempotency-Key": key} if key else {}
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            with closing(connection):
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                got = connection.getresponse()
                content = got.read()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{type(error).__name__}: {error}") from None
        answer = Answer(
            status=got.status,
            body=_parsed(content),
            headers={name.lower(): value for name, value in got.getheaders()},
            seconds=time.monotonic() - started,
        )
        self._judge(method, path, answer)
        return answer

    def hang_up(self, method: str, path: str, body: Any, *, key: str | None) -> None:
        """Send a request and close the connection at once."""
        text = json.dumps(body).encode() if body is not None else b""
        keyed = f"Idempotency-Key: {key}\r\n" if key else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n{keyed}\r\n"
        )
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 5)) as connection:
            connection.sendall(head.encode() + text)

    def _judge(self, method: str, path: str, answer: Answer) -> None:
        is_away = answer.status == 503 and (path == "/api/ready" or "retry-after" in answer.headers)
        if answer.status >= 500 and not is_away:
            self.problems.append(f"{method} {path} answered {answer.status} {answer.body}")

    def dagster_runs(self, run_id: str | None = None) -> list[dict[str, Any]] | None:
        """Return Dagster's runs of a run, or all; None: Dagster does not answer."""
        query = {"query": _ALL} if run_id is None else {"query": _TAGGED, "variables": {"tag": run_id}}
        try:
            answer = self.ask("POST", "/graphql", query, port=self.dagster_port)
            return list(answer.body["data"]["runs"]["results"])
        except (Away, KeyError, TypeError):
            return None

    # Records

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return rows of the records, past the platform. Raises sqlite3.Error, psycopg.Error."""
        if self.direct_url is None:
            uri = f"file:{self.home / 'headrace.db'}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
                return connection.execute(query).fetchall()
        with psycopg.connect(self.direct_url, connect_timeout=5, autocommit=True) as session:
            return session.execute(query).fetchall()

    def log_ends(self, lines: int = 30) -> str:
        """Return the ends of all logs."""
        files = [self.folder / "up.log", *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"--- {file.name}\n{_tail(file, lines)}" for file in files)

    def _environment(self) -> dict[str, str]:
        own = {
            "HEADRACE_HOME": str(self.home),
            "HEADRACE_CONFIG_DIR": str(self.folder / "config"),
            "HEADRACE_FAILPOINTS": str(self.faults),
            "HEADRACE_ALLOW_FAILPOINTS": "true",
            "TMPDIR": str(self.temporary),
        }
        if self.lease_seconds is not None:
            own["HEADRACE_LEASE_SECONDS"] = str(self.lease_seconds)
        if self.database_url is not None:
            own["HEADRACE_DATABASE_URL"] = self.database_url
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return kept | own | self.environment

    def _command(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "headrace.cli.main", *arguments, "--home", str(self.home)]
        subprocess.run(command, env=self._environment(), check=True, stdout=subprocess.DEVNULL)


def new_key() -> str:
    """Return an Idempotency-Key that nobody has used."""
    return secrets.token_hex(16)


@contextmanager
def stopped(home: Home) -> Iterator[None]:
    """Kill everything of the home at the end."""
    try:
        yield
    finally:
        home.end()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode(errors="replace")[:500]


def _tail(file: Path, lines: int) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
