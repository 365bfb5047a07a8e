"""Headrace's settings: environment variables with the prefix `HEADRACE_`, read once per process.

Nothing else reads the environment. docs/settings.md lists each field; a test holds the two together.
"""

from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One installation's settings. Everything it keeps lies under `home`."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, hide_input_in_errors=True)

    home: Path = Field(Path(".headrace"), description="Folder that holds all of this installation.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the records; unset: SQLite in the home folder."
    )
    keyring_file: Path | None = Field(None, description="File with the encryption keys.")
    keyring: SecretStr | None = Field(
        None, description="Encryption keys themselves, newest first, separated by commas; a file is safer."
    )
    host: str = Field("127.0.0.1", description="Address that the REST service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the REST service.")
    dagster_host: str = Field("127.0.0.1", description="Address that the Dagster UI listens on.")
    dagster_port: int = Field(3000, ge=0, le=65535, description="Port of the Dagster UI.")
    dagster_url: str | None = Field(
        None, description="Where the REST service reaches Dagster; unset: dagster_host and dagster_port."
    )
    public_url: str | None = Field(
        None, description="Address that people reach the REST service at, for links in Dagster."
    )
    allowed_hosts: tuple[str, ...] = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="Host names that the Dagster UI answers to."
    )
    private_networks: bool = Field(
        True, description="Whether sources and destinations may connect to private and loopback addresses."
    )
    lease_seconds: float = Field(15.0, gt=0, description="How long a run stays claimed by a silent worker.")
    log_level: str = Field("INFO", description="Level of the platform's own logs.")

    @cached_property
    def root(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().resolve()

    @property
    def outputs(self) -> Path:
        """The folder that holds one folder for each run's output."""
        return self.root / "outputs"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own folder: its dagster.yaml and, on the embedded default, its storage."""
        return self.root / "dagster"

    @property
    def sqlalchemy_url(self) -> str:
        """The records' database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.root / 'headrace.db'}"

    @property
    def is_embedded(self) -> bool:
        """Whether the records lie in SQLite, as on a newcomer's machine."""
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def dagster_address(self) -> str:
        """Where the REST service reaches Dagster's webserver, without a slash at the end."""
        return (self.dagster_url or f"http://{self.dagster_host}:{self.dagster_port}").rstrip("/")

    @property
    def api_address(self) -> str:
        """Where people reach the REST service, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
