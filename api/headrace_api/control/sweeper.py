"""Removes the temporary things of workers that died, or that lost their run: see `headrace.scratch`."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Protocol
from uuid import UUID

from headrace import scratch

_log = logging.getLogger(__name__)


class Claims(Protocol):
    """The claims: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def living(self, claims: Collection[tuple[UUID, int]]) -> set[tuple[UUID, int]]: ...


class Sweeper:
    """Works without Dagster. `folder` has a folder for each worker."""

    def __init__(self, upkeep: Claims, folder: Path) -> None:
        self._upkeep = upkeep
        self._folder = folder

    def work(self) -> bool:
        """Remove what belongs to dead claims. Always return False: one round finds all of them."""
        # The folders before the claims: a folder is made after its claim, so none of them is too new.
        folders = list(self._folder.iterdir()) if self._folder.exists() else []
        claims = {claim: folder for folder in folders if (claim := scratch.claim_of(folder.name))}
        living = self._upkeep.living(claims.keys()) if claims else set()
        for claim in claims.keys() - living:
            self._remove(claims[claim])
        return False

    def _remove(self, folder: Path) -> None:
        try:
            scratch.remove(folder)
        except OSError as error:
            # A problem with one worker's files must not hold up the others.
            _log.warning("%s was not removed: %s", folder, error.strerror)
