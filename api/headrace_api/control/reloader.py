"""Has Dagster read the pipelines again after a change.

It polls the catalogue's stamp; a wake-up only makes it look sooner. So it sees changes by other processes,
and by processes that died right after. A burst of changes costs the current reload and one more.
"""

from typing import Protocol

from headrace.failpoints import reach


class Catalogue(Protocol):
    """The pipelines: `headrace.service.jobs.Jobs`."""

    def stamp(self) -> tuple[int]: ...


class Reloadable(Protocol):
    """What reads the pipelines: the Dagster client."""

    def reload(self) -> None: ...


class Reloader:
    """Reloads in its first round, and then after each change."""

    def __init__(self, catalogue: Catalogue, dagster: Reloadable) -> None:
        self._catalogue = catalogue
        self._dagster = dagster
        self._reloaded: tuple[int] | None = None

    def work(self) -> bool:
        """Reload if anything changed since the last reload began. Always return False."""
        stamp = self._catalogue.stamp()
        if stamp != self._reloaded:
            reach("reloading")
            self._dagster.reload()
            reach("reloaded")
            # Keep the stamp from before the reload, so that a change during the reload leads to another.
            self._reloaded = stamp
        return False
