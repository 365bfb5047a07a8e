"""The installation that this process serves. Each part is opened at first use and kept."""

from functools import cache

from headrace.service.platform import Platform
from headrace.settings import Settings, load_settings
from headrace.store.database import Database
from headrace.store.jobs import JobStore


@cache
def settings() -> Settings:
    """The settings, read from the environment once."""
    return load_settings()


@cache
def platform() -> Platform:
    """The open platform. Raises StartupError; the next call then tries again."""
    return Platform.open(settings())


@cache
def job_store() -> JobStore:
    """The pipelines without their configs, for a process that needs no key."""
    return JobStore(Database(settings().sqlalchemy_url))
