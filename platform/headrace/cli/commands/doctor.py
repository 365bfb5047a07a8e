"""`headrace doctor`: checks of an installation, with advice."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli import home_lock
from headrace.cli.client import Client, Problem, Unreachable
from headrace.cli.connection import Addresses
from headrace.cli.console import OUT, print_json, print_table, size_text
from headrace.cli.options import AsJson, Home
from headrace.cli.platform.ports import claim
from headrace.cli.platform.resources import tree_usage
from headrace.errors import HeadraceError, StartupError
from headrace.private_files import check_private_folder
from headrace.settings import Settings, load_settings

_LEAST_FREE_BYTES = 1_000_000_000
_PARTS = {"starlette": "api", "uvicorn": "api", "dagster": "dagster", "dagster_webserver": "dagster"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check. `advice` is empty if nothing is wrong."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def doctor(
    resources: Annotated[
        bool, typer.Option("--resources", help="Only print the memory of the running platform.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Check this installation, and say what is wrong and what to do. Exits with 78 if a check fails."""
    if resources:
        _print_resources(load_settings(home), as_json)
        return
    findings = list(_examine(home))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print_finding(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(StartupError.exit_code)


def _examine(home: Path | None) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    try:
        settings = load_settings(home)
    except HeadraceError as error:
        yield _fault("settings", error)
        return
    yield Finding(check="settings", ok=True, found="valid")
    if settings.failpoints is not None:
        yield _failpoints(settings.failpoints)
    if not settings.root.exists():
        yield Finding(check="home", ok=True, found=f"{settings.root}, which `headrace up` will create")
        yield from _ports(settings)
        return
    yield _guarded("home", lambda: _home(settings))
    yield _disk(settings)
    yield _guarded("records", lambda: _records(settings))
    yield from _ready(settings) if home_lock.is_held(settings.root) else _ports(settings)


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except HeadraceError as error:
        return _fault(check, error)


def _fault(check: str, error: HeadraceError) -> Finding:
    return Finding(check=check, ok=False, found=error.detail, advice=error.hint)


def _python() -> Finding:
    found = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        advice = "Unset PYTHONDONTWRITEBYTECODE. Without byte-code caches every start is slow."
        return Finding(check="python", ok=False, found=found, advice=advice)
    return Finding(check="python", ok=True, found=found)


def _packages() -> Finding:
    missing = sorted({extra for package, extra in _PARTS.items() if find_spec(package) is None})
    if missing:
        advice = f"Install headrace[{','.join(missing)}], or run `make setup`."
        return Finding(check="packages", ok=False, found=f"missing: {', '.join(missing)}", advice=advice)
    return Finding(check="packages", ok=True, found="complete")


def _failpoints(folder: Path) -> Finding:
    advice = "Unset HEADRACE_FAILPOINTS and HEADRACE_ALLOW_FAILPOINTS: they are for tests alone."
    return Finding(check="failpoints", ok=False, found=f"faults are injected from {folder}", advice=advice)


def _home(settings: Settings) -> Finding:
    check_private_folder(settings.root)
    return Finding(check="home", ok=True, found=str(settings.root))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.root).free
    enough = free >= _LEAST_FREE_BYTES
    advice = "" if enough else f"Free some space, or delete runs; their outputs are in {settings.outputs}."
    return Finding(check="disk", ok=enough, found=f"{size_text(free)} free", advice=advice)


def _records(settings: Settings) -> Finding:
    # Imported here, because the database's libraries would slow down the start of other commands.
    from headrace.service.platform import Platform

    platform = Platform.open(settings)
    try:
        database = "SQLite" if settings.is_embedded else "PostgreSQL"
        return Finding(
            check="records",
            ok=True,
            found=f"{database}, migrated; the keyring has all keys of the stored secrets",
        )
    finally:
        platform.close()


def _ports(settings: Settings) -> Iterator[Finding]:
    for option, port in (("--port", settings.port), ("--dagster-port", settings.dagster_port)):
        yield _guarded(f"port {port}", partial(_port, settings.host, port, option))


def _port(host: str, port: int, option: str) -> Finding:
    claim(host, port, option)
    return Finding(check=f"port {port}", ok=True, found="free")


def _ready(settings: Settings) -> Iterator[Finding]:
    addresses = Addresses.read(settings.root)
    url = addresses.url if addresses else settings.api_address
    advice = f"See the logs in {settings.root / 'logs'}."
    try:
        Client(url, token=None).get("/api/ready")
    except Unreachable as error:
        yield Finding(check="platform", ok=False, found=error.detail, advice=advice)
    except Problem as problem:
        yield Finding(check="platform", ok=False, found=f"running, but not ready: {problem}", advice=advice)
    else:
        yield Finding(check="platform", ok=True, found=f"ready at {url}")


def _print_finding(finding: Finding) -> None:
    mark, style = ("ok", "green") if finding.ok else ("!!", "red")
    OUT.print(f"[{style}]{mark}[/] {finding.check}: ", end="")
    OUT.print(finding.found, markup=False)
    if finding.advice:
        OUT.print(f"   {finding.advice}", markup=False)


def _print_resources(settings: Settings, as_json: bool) -> None:
    addresses = Addresses.read(settings.root)
    usages = tree_usage(addresses.pid) if addresses else []
    total = sum(usage.pss_bytes for usage in usages)
    if as_json:
        print_json({"pss_bytes": total, "processes": [asdict(usage) for usage in usages]})
        return
    rows: list[dict[str, Any]] = [
        {"pid": usage.pid, "pss": size_text(usage.pss_bytes), "command": usage.command} for usage in usages
    ]
    print_table([*rows, {"pid": "all", "pss": size_text(total), "command": ""}], _RESOURCE_COLUMNS)


_RESOURCE_COLUMNS = {"pid": "PID", "pss": "PSS", "command": "COMMAND"}
