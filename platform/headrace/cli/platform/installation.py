"""The processes of a platform on one machine, and the home folder that they share."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.cli import home_lock
from headrace.cli.connection import Addresses
from headrace.cli.platform.ports import claim, reachable
from headrace.cli.platform.supervisor import Child
from headrace.settings import Settings, load_settings, store_secret

# In the order in which they are stopped: first those that start new work, last the one that does it.
_MODULES = {
    "api": "headrace_api",
    "dagster-daemon": "headrace_dagster.daemon",
    "dagster-webserver": "headrace_dagster.webserver",
    "dagster-code": "headrace_dagster.code_server",
}
# Secrets, because other processes of this user can read an environment; and a variable that slows starts.
_NOT_FOR_CHILDREN = {"HEADRACE_DATABASE_URL", "HEADRACE_TOKEN", "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A home folder, and the addresses for its processes to listen on."""

    settings: Settings
    host: str
    port: int
    dagster_port: int

    @property
    def root(self) -> Path:
        """The home folder."""
        return self.settings.root

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.root / "logs"

    @property
    def addresses(self) -> Addresses:
        """The addresses of the platform on this machine."""
        host = reachable(self.host)
        return Addresses(
            url=f"http://{host}:{self.port}",
            dagster_url=f"http://{host}:{self.dagster_port}",
            pid=os.getpid(),
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of each process. It has no secrets: processes read these from the home folder."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}
        hosts = dict.fromkeys((*self.settings.allowed_hosts, reachable(self.host)))
        return {
            **kept,
            "HEADRACE_HOME": str(self.root),
            "HEADRACE_HOST": self.host,
            "HEADRACE_PORT": str(self.port),
            "HEADRACE_DAGSTER_HOST": self.host,
            "HEADRACE_DAGSTER_PORT": str(self.dagster_port),
            "HEADRACE_ALLOWED_HOSTS": ",".join(hosts),
            "HEADRACE_DAGSTER_URL": self.addresses.dagster_url,
        }

    @property
    def children(self) -> list[Child]:
        """The processes, in the order in which they are stopped. They may be started all at once."""
        return [
            Child(
                name=name,
                argv=(sys.executable, "-P", "-m", module),  # -P: never import from the folder of the start
                environment=self.environment,
                log=self.logs / f"{name}.log",
            )
            for name, module in _MODULES.items()
        ]


@contextlib.contextmanager
def occupy(
    home: Path | None,
    *,
    host: str | None = None,
    port: int | None = None,
    dagster_port: int | None = None,
    database_url: str | None = None,
) -> Iterator[Installation]:
    """Hold the home folder and find free ports. The settings replace arguments that are None.

    The database's URL is stored in the home folder, so it need not be in an environment.
    Raises AlreadyUp, PortTaken, BadAddress, NotPrivate, InvalidSettings.
    """
    settings = load_settings(home)
    with home_lock.hold(settings.root):
        if database_url is not None:
            store_secret(settings.root, "database_url", database_url)
        elif settings.database_url is not None:
            store_secret(settings.root, "database_url", settings.database_url.get_secret_value())
        host = host or settings.host
        installation = Installation(
            settings=settings,
            host=host,
            port=claim(host, settings.port if port is None else port, "--port"),
            dagster_port=claim(
                host, settings.dagster_port if dagster_port is None else dagster_port, "--dagster-port"
            ),
        )
        with _published(installation):
            yield installation


@contextlib.contextmanager
def _published(installation: Installation) -> Iterator[None]:
    installation.addresses.write(installation.root)
    try:
        yield
    finally:
        Addresses.remove(installation.root)
