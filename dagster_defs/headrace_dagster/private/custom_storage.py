"""The base of a storage that `dagster.yaml` names under `custom`."""

from collections.abc import Mapping
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage

Storage = DagsterStorage


class CustomStorage(DagsterStorage):  # abstract: Dagster calls only the class methods
    """Makes the storage that Dagster uses. It takes no configuration from `dagster.yaml`."""

    @classmethod
    def config_type(cls) -> Any:
        """Return the schema of an empty configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Storage:
        """Return the storage, as Dagster asks for it."""
        return cls.open(inst_data)

    @classmethod
    def open(cls, inst_data: Any) -> Storage:
        """Return the storage; `inst_data` says where `dagster.yaml` named it."""
        raise NotImplementedError
