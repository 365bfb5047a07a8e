"""The REST service as a process."""

import contextlib
import signal
import sys
import threading
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from headrace import arenas, scratch
from headrace.errors import StartupError
from headrace.service.internal_token import internal_token
from headrace.service.platform import Platform
from headrace.settings import Settings, load_settings
from headrace_api.app import create_app
from headrace_api.control.control import Control
from headrace_api.dagster.client import DagsterClient
from headrace_api.service_log import log_to_stderr

SHUTDOWN_SECONDS = 3
"""How long unfinished answers, such as followed logs, may take after the signal to stop."""


def main() -> None:
    """Serve until a signal stops the process. Exits with the error's exit code if it must not start."""
    arenas.bound()
    try:
        settings = load_settings()
        platform = Platform.open(settings)
    except StartupError as error:
        sys.exit(_refusal(error))
    # The database may just have come back: leases that ran out before this start prove nothing yet.
    platform.database.steadiness.break_off()
    log_to_stderr(settings.log_level)
    scratch.take(settings.run_folder, "api")
    # uvicorn raises the signal again after its shutdown; exit normally, so that the with block closes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    dagster = DagsterClient(settings.dagster_address, lambda: internal_token(settings))
    with contextlib.closing(platform), contextlib.closing(dagster):
        closing = threading.Event()
        app = create_app(platform, dagster, Control(platform, dagster), closing)
        _Server(_config(app, settings), closing).run()


class _Server(uvicorn.Server):
    """Sets `closing` when the signal arrives; a lifespan ends only after all connections are closed."""

    def __init__(self, config: uvicorn.Config, closing: threading.Event) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Set `closing`, then shut down."""
        self._closing.set()
        super().handle_exit(sig, frame)


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # uvicorn's would hold query strings; the application writes its own
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def _refusal(error: StartupError) -> int:
    sys.stderr.write(f"{error.title}: {error.detail}\n{error.hint}\n")
    return error.exit_code
