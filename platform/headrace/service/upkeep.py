"""What the control loops take up, across organizations."""

from headrace.service.platform import Platform
from headrace.store.upkeep import UpkeepStore


class Upkeep(UpkeepStore):
    """The work of the control loops: the store as it is."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform.database)
