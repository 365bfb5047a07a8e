"""`headrace up`: runs the platform on one machine."""

import asyncio
import signal
import sys
import time
from functools import partial
from typing import Annotated

import typer

from headrace.cli.client import Client, Problem, Unreachable
from headrace.cli.console import ERR, OUT, duration_text, print_facts
from headrace.cli.options import Home
from headrace.cli.platform.installation import Installation, occupy
from headrace.cli.platform.supervisor import Supervisor
from headrace.errors import StartupError, Unavailable

_POLL_SECONDS = 0.1
_SAMPLE_STOP_SECONDS = 1.0


class NotPrepared(StartupError):
    """The home folder cannot be used in its present state. Stored data is unchanged."""

    code = "cli.not_prepared"
    title = "Cannot start"


class DatabaseAway(Unavailable):
    """The database of the records does not respond."""

    code = "cli.database_away"
    title = "Database unavailable"


def up(
    home: Home = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="HEADRACE_HOST, or 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the REST service; 0 takes a free one.",
            show_default="HEADRACE_PORT, or 8000",
        ),
    ] = None,
    dagster_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the Dagster UI; 0 takes a free one.",
            show_default="HEADRACE_DAGSTER_PORT, or 3000",
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The database of the records; its URL is stored in the home folder for later starts. "
            "- reads the URL from standard input, so the list of processes does not show a password.",
            show_default="HEADRACE_DATABASE_URL, or SQLite in the home folder",
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Also run a sample pipeline with real data.")
    ] = False,
) -> None:
    """Start the platform, and keep it running until Ctrl-C or SIGTERM."""
    if database_url == "-":
        database_url = sys.stdin.readline().strip()
    with occupy(
        home, host=host, port=port, dagster_port=dagster_port, database_url=database_url
    ) as installation:
        asyncio.run(_serve(installation, sample=sample))


async def _serve(installation: Installation, *, sample: bool) -> None:
    stop = asyncio.Event()
    for number in _stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    OUT.print(f"Starting Headrace on {installation.root}")
    ticket = await _prepare(installation)
    supervisor = Supervisor(installation.children, announce=_announce)
    asides = [
        asyncio.create_task(_welcome(installation, ticket, began, sample=sample)),
        asyncio.create_task(_say_stopping(stop)),
    ]
    for task in asides:
        task.add_done_callback(partial(_stop_on_failure, stop))
    try:
        await supervisor.run(stop)
    finally:
        for task in asides:
            task.cancel()
        await asyncio.wait(asides)
    for task in asides:
        if not task.cancelled():
            task.result()
    OUT.print("Stopped.")


def _stop_on_failure(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        stop.set()


def _stop_signals() -> list[signal.Signals]:
    # Under nohup, SIGHUP is ignored so that the platform outlives the terminal; keep that.
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hung_up]


async def _say_stopping(stop: asyncio.Event) -> None:
    await stop.wait()
    OUT.print("Stopping...")


def _announce(sentence: str) -> None:
    ERR.print(f"{time.strftime('%H:%M:%S')} {sentence}", style="yellow", markup=False)


async def _prepare(installation: Installation) -> str:
    """Prepare the home folder, and return a ticket for the Dagster UI."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "headrace.cli.prepare",
        env=dict(installation.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await process.communicate()
    if process.returncode == 0:
        return output.decode()
    message = said.decode(errors="replace").strip()
    raise (NotPrepared if process.returncode == StartupError.exit_code else DatabaseAway)(message)


async def _welcome(installation: Installation, ticket: str, began: float, *, sample: bool) -> None:
    """Wait until everything is ready, print the addresses, and run the sample."""
    await _wait_ready(Client(installation.addresses.url, token=None))
    addresses = installation.addresses
    OUT.print(f"\nHeadrace is ready after {duration_text(time.monotonic() - began)}.\n", style="bold green")
    print_facts(
        {
            "REST API": f"{addresses.url}/api",
            "REST docs": f"{addresses.url}/docs",
            "Dagster UI": f"{addresses.dagster_url}/headrace/open?ticket={ticket}",
            "": "(signs you in once, within 5 minutes; `headrace ui` prints a new link)",
            "Token": f"headrace token --home {installation.root}",
            "Logs": str(installation.logs),
        }
    )
    if sample:
        await _run_sample(installation)
    OUT.print("\nCtrl-C stops the platform.\n")


async def _wait_ready(client: Client) -> None:
    said = ""
    with ERR.status("") as status:
        while waiting := await asyncio.to_thread(_unready, client):
            sentence = f"Waiting for {', '.join(waiting)}"
            if sentence != said:
                said = sentence
                status.update(sentence) if ERR.is_terminal else ERR.print(sentence)
            await asyncio.sleep(_POLL_SECONDS)


def _unready(client: Client) -> list[str]:
    """Return the parts that are not ready."""
    try:
        client.get("/api/ready")
    except Unreachable:
        return ["the REST service"]
    except Problem as problem:
        parts = [name.replace("_", " ") for name, part in problem.body.items() if _is_unready(part)]
        return parts or [str(problem)]
    return []


def _is_unready(part: object) -> bool:
    return isinstance(part, dict) and not part.get("ready")


async def _run_sample(installation: Installation) -> None:
    # A separate process, so its memory is freed at the end and a stop can end it at any time.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "headrace.cli.platform.sample",
        env=dict(installation.environment),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), _SAMPLE_STOP_SECONDS)
