"""What the configured paths stand for, while the object store that some of them name is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from headrace.connectors import Unreadable
from headrace.connectors.files.config import FilesConfig, is_url
from headrace.connectors.files.found import Found, LocalPlace, Place, StorePlace, WebPlace
from headrace.connectors.kit.stores import object_store
from headrace.connectors.kit.stores.config import is_store_url, storage_for, store_url

if TYPE_CHECKING:
    from headrace.connectors.kit.stores.object_store import ObjectStore


@contextmanager
def opened_places(config: FilesConfig) -> Iterator[list[tuple[str, Place]]]:
    """Hold the places of the paths open, each beside its path."""
    storage = storage_for(list(config.paths), config.storage)
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    buckets: dict[str, ObjectStore] = {}
    places: list[tuple[str, Place]] = []
    with ExitStack() as stack:
        for path in config.paths:
            if is_url(path):
                places.append((path, WebPlace(path, headers, config.limits)))
            elif is_store_url(path):
                assert storage is not None
                url = store_url(path)
                if url.bucket not in buckets:
                    opened = object_store.opened(storage, url.bucket, config.limits)
                    buckets[url.bucket] = stack.enter_context(opened)
                places.append((path, StorePlace(url, buckets[url.bucket])))
            else:
                places.append((path, LocalPlace(path)))
        yield places


def matches(path: str, place: Place, *, with_times: bool = True) -> Iterator[Found]:
    """Yield the files that a path stands for. Raises Unreadable where there is none."""
    is_any = False
    for found in place.find(with_times=with_times):
        is_any = True
        yield found
    if not is_any:
        raise Unreadable(f"No file matches {path}.")
