"""Headrace's settings: environment variables with the prefix `HEADRACE_`, read once per process.

A variable overrides a file of the same name in `secrets/` of the home folder, and the file overrides the
default. Nothing else reads the environment. docs/settings.md lists each field; a test compares the two.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from headrace import private_files
from headrace.errors import FieldError, StartupError

_PREFIX = "HEADRACE_"


class InvalidSettings(StartupError):
    """A setting has an invalid value. `errors` name the settings and never show the values."""

    code = "settings.invalid"
    title = "Invalid settings"
    hint = "See docs/settings.md for the values of each setting."


class Settings(BaseSettings):
    """The settings of one installation, which stores everything in `home`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, hide_input_in_errors=True, populate_by_name=True
    )

    home: Path = Field(
        Path(".headrace"),
        description="Folder of this installation, which contains everything that it stores.",
    )
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the records; unset: SQLite in the home folder."
    )
    keyring_file: Path | None = Field(None, description="File with the encryption keys.")
    keyring: SecretStr | None = Field(
        None, description="The encryption keys, newest first, separated by commas; a file is safer."
    )
    config_dir: Path | None = Field(
        None, description="The user's configuration folder; unset: headrace in $XDG_CONFIG_HOME or ~/.config."
    )
    xdg_config_home: Path | None = Field(
        None,
        validation_alias="XDG_CONFIG_HOME",
        description="The desktop's configuration folder; a relative path is ignored.",
    )
    credentials_directory: Path | None = Field(
        None,
        validation_alias="CREDENTIALS_DIRECTORY",
        description="Systemd's folder of credentials; headrace-keyring in it holds the encryption keys.",
    )
    host: str = Field("127.0.0.1", description="Address that the REST service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the REST service.")
    dagster_host: str = Field("127.0.0.1", description="Address that the Dagster UI listens on.")
    dagster_port: int = Field(3000, ge=0, le=65535, description="Port of the Dagster UI.")
    dagster_url: str | None = Field(
        None,
        description="URL by which the REST service reaches Dagster; unset: dagster_host and dagster_port.",
    )
    public_url: str | None = Field(
        None, description="URL by which people reach the REST service, for links in Dagster."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("localhost", "127.0.0.1", "[::1]"),
        description="Host names that the Dagster UI answers to, separated by commas.",
    )
    connectors_dir: Path | None = Field(
        None, description="Folder of your own connectors; unset: `connectors` in the home folder."
    )
    private_networks: bool = Field(
        True, description="Whether sources and destinations may connect to private and loopback addresses."
    )
    reference_variables: Annotated[tuple[str, ...], NoDecode] = Field(
        ("PIPELINE_*",),
        description="Environment variables that pipelines may refer to as env://, separated by commas.",
    )
    reference_folder: Path | None = Field(
        None,
        description="Folder of files that pipelines may refer to as file://; unset: `references` at home.",
    )
    vault_address: str | None = Field(
        None, description="HashiCorp Vault's address, for references vault://path#key."
    )
    vault_token: SecretStr | None = Field(
        None, description="Vault's token; its policy decides what pipelines may refer to."
    )
    google_project: str | None = Field(
        None, description="Project of references gsm://secret; unset: the machine's own, on Google Cloud."
    )
    google_credentials_file: Path | None = Field(
        None, description="Service account's key file for gsm://; unset: the machine's own account."
    )
    reference_seconds: float = Field(
        15.0, gt=0, description="How long to wait for one answer of a keeper of secrets, vault:// or gsm://."
    )
    max_concurrent_runs: int = Field(
        8, ge=1, le=1000, description="How many runs may be in progress at once; further runs stay pending."
    )
    max_runs_per_source: int | None = Field(
        None,
        ge=1,
        description="How many of them may read from the same source connector; unset: no such limit.",
    )
    max_runs_per_domain: int | None = Field(
        None, ge=1, description="How many of them may belong to one domain; unset: no such limit."
    )
    retention_days: float = Field(
        30.0, ge=0, description="Days that an ended run is kept with its log and output; 0: for ever."
    )
    retention_keep_runs: int = Field(
        10, ge=1, description="How many of each pipeline's newest runs are kept at any age."
    )
    retention_max_runs: int = Field(
        1000, ge=0, description="How many runs of a pipeline are kept at most; 0: no limit."
    )
    preview_rows: int = Field(
        0,
        ge=0,
        le=10,
        description="How many rows of each run Dagster's catalog shows. Dagster keeps them as plain text.",
    )
    run_timeout_seconds: float = Field(
        86_400.0,
        gt=0,
        le=86_400,
        description="Time limit of an attempt where the pipeline's policy has none: a day, or less.",
    )
    lease_seconds: float = Field(
        15.0, gt=0, le=600, description="How long a run stays claimed by a worker that sends no heartbeat."
    )
    failpoints: Path | None = Field(
        None, description="For tests: folder of faults to inject, see docs/failpoints.md; unset: no faults."
    )
    allow_failpoints: bool = Field(
        False, description="For tests: whether processes start at all where faults can be injected."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Level of the platform's own logs."
    )

    @field_validator("allowed_hosts", "reference_variables", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _refuse_failpoints(self) -> Self:
        if self.failpoints is not None and not self.allow_failpoints:
            raise PydanticCustomError(
                "failpoints", "HEADRACE_FAILPOINTS injects faults and is for tests alone: unset it"
            )
        return self

    @cached_property
    def root(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().resolve()

    @property
    def user_config_dir(self) -> Path:
        """The user's configuration folder, shared by all home folders of the user.

        The XDG Base Directory Specification defines its place, and says to ignore a relative path.
        """
        if self.config_dir is not None:
            return self.config_dir.expanduser().resolve()
        base = self.xdg_config_home
        return (base if base is not None and base.is_absolute() else Path.home() / ".config") / "headrace"

    @property
    def connectors(self) -> Path:
        """The folder of this installation's own connectors; it may be missing."""
        return self.root / "connectors" if self.connectors_dir is None else self.connectors_dir.resolve()

    @property
    def references(self) -> Path:
        """The folder of the files that references may name; it may be missing."""
        return (self.reference_folder or self.root / "references").expanduser().resolve()

    @property
    def outputs(self) -> Path:
        """The folder of outputs, with one folder for each run."""
        return self.root / "outputs"

    @property
    def scratch(self) -> Path:
        """The folder of temporary things, with one folder for each worker: on the disk of the outputs."""
        return self.outputs / ".scratch"

    @property
    def run_folder(self) -> Path:
        """The folder of sockets, and of temporary things with one folder for each server."""
        return self.root / "run"

    @property
    def data_folder(self) -> Path:
        """The folder in which the relative paths of connectors' configurations begin."""
        return self.root / "data"

    @property
    def owner_token_file(self) -> Path:
        """The file of this home's owner token; only its owner may read it."""
        return self.root / "owner.token"

    @property
    def dagster_home(self) -> Path:
        """Dagster's folder: its dagster.yaml and, in an embedded installation, its storage."""
        return self.root / "dagster"

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the records' database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.root / 'headrace.db'}"

    @property
    def is_embedded(self) -> bool:
        """True if the records are in SQLite, which is the default."""
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def dagster_address(self) -> str:
        """The URL by which the REST service reaches Dagster's webserver, without a trailing slash."""
        return (self.dagster_url or f"http://{self.dagster_host}:{self.dagster_port}").rstrip("/")

    @property
    def api_address(self) -> str:
        """The URL by which people reach the REST service, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def load_settings(home: Path | None = None) -> Settings:
    """Return the settings from the environment and the files in `<home>/secrets/`, with an absolute `home`.

    `home` overrides `HEADRACE_HOME`. A secret's file is named as its variable in lower case, such as
    `headrace_database_url`. A secret in a file need not be in the environment of child processes.
    Raises InvalidSettings, and NotPrivate if other users may read the secrets.
    """
    root = (_validated() if home is None else _validated(home=home)).root
    folder = secrets_folder(root)
    if not folder.exists():
        return _validated(home=root)
    private_files.check_private_folder(folder)
    for file in folder.iterdir():
        private_files.read_private(file)
    return _validated(home=root, _secrets_dir=folder)


def secrets_folder(root: Path) -> Path:
    """Return the folder in the home folder `root` with one file for each stored secret."""
    return root / "secrets"


def store_secret(root: Path, field: str, value: str) -> None:
    """Store a setting's value in a file of mode 0600, where `load_settings` finds it."""
    folder = secrets_folder(root)
    private_files.make_private_folder(folder)
    private_files.replace_private(folder / f"{_PREFIX}{field}".lower(), value.encode())


def _validated(**values: Any) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = [_field_error(fault["loc"], fault["msg"]) for fault in error.errors(include_input=False)]
    except SettingsError as error:
        faults = [FieldError(pointer="", code="settings.invalid", detail=str(error))]
    # Raised outside the except clauses, because pydantic's errors contain the values.
    details = "; ".join(f"{fault.pointer.removeprefix('/')}: {fault.detail}" for fault in faults)
    raise InvalidSettings(f"{details}.", errors=faults)


def _field_error(location: tuple[int | str, ...], message: str) -> FieldError:
    name = str(location[0]) if location else "failpoints"  # the only check of more than one field
    return FieldError(pointer=f"/{name}", code="settings.invalid", detail=message)
