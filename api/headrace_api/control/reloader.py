"""Has Dagster read the pipelines anew when they changed.

It compares the catalogue's stamp and is only hurried by wake-ups: so a change is seen though another process
made it, or died right after, and a burst of changes costs one reload under way and one after it.
"""

from typing import Protocol


class Catalogue(Protocol):
    """What changes: `headrace.service.jobs.Jobs`."""

    def stamp(self) -> tuple[int]: ...


class Reloadable(Protocol):
    """Who reads it: the Dagster client."""

    def reload(self) -> None: ...


class Reloader:
    """Reloads once in its first round, and then after each change."""

    def __init__(self, catalogue: Catalogue, dagster: Reloadable) -> None:
        self._catalogue = catalogue
        self._dagster = dagster
        self._reloaded: tuple[int] | None = None

    def work(self) -> bool:
        """Reload if anything changed since the last reload began; there is never more to do at once."""
        stamp = self._catalogue.stamp()
        if stamp != self._reloaded:
            self._dagster.reload()
            # The stamp from before the reload: what changed during it is reloaded again.
            self._reloaded = stamp
        return False
