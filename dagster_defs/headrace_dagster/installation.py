"""The installation that this process serves, opened at first use and kept for the process's life."""

from functools import cache

from headrace.service.platform import Platform
from headrace.settings import Settings, load_settings


@cache
def settings() -> Settings:
    """The settings, read from the environment once."""
    return load_settings()


@cache
def platform() -> Platform:
    """The open platform. Raises StartupError; the next call then tries again."""
    return Platform.open(settings())
