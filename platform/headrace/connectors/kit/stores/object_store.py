"""Object stores by the client `obstore`, with guarded addresses and errors of ours.

No text of the client's errors is passed on: they quote URLs, whose query may be a credential.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from headrace.connectors import (
    ConnectorError,
    OutOfSpace,
    Unauthorized,
    Unreachable,
    Unreadable,
    Untrusted,
)
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.network.limits import TransferLimits
from headrace.connectors.kit.network.proxy import GuardedProxy, guarded_proxy
from headrace.connectors.kit.network.tries import RETRIED, RateLimited
from headrace.connectors.kit.stores.config import AnyStorage, AzureStorage, GcsStorage, S3Storage

if TYPE_CHECKING:
    import obstore

_PART = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_LISTED = 1000
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_LIMITS = TransferLimits()
_INSUFFICIENT_STORAGE = 507  # RFC 4918, section 11.5
_FULL = ("XMinioStorageFull", "QuotaExceeded", "InsufficientStorage")
_METADATA_SERVICES = "169.254.169.254,169.254.170.2,169.254.170.23,metadata.google.internal"


class StoreClientMissing(ConnectorError):
    """The client for object stores is not installed."""

    code = "connector.store_client_missing"
    title = "Client for object stores not installed"
    hint = "Install it with `pip install 'headrace[stores]'` where runs are executed."


class NoSuchBucket(Unreadable):
    """The bucket or container does not exist, or is another account's."""

    code = "connector.no_such_bucket"
    title = "No such bucket"
    hint = "Check the bucket's name, its region and the endpoint."


class NoSuchObject(Exception):
    """There is no object of that key. It never reaches a user: who asks knows what it means."""


class ObjectChanged(Exception):
    """The object is not the one that was asked for any more. It never reaches a user."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object as the store lists it."""

    key: str
    size: int
    modified: datetime
    etag: str | None


class ObjectStore:
    """One bucket of a store, while it is open."""

    def __init__(self, store: obstore.store.ObjectStore, bucket: str, proxy: GuardedProxy) -> None:
        self._store = store
        self._bucket = bucket
        self._proxy = proxy

    def list(self, folder: str) -> Iterator[StoredObject]:
        """Yield the objects below a folder, in the order of their keys."""
        import obstore

        with self._errors():
            for page in obstore.list(self._store, prefix=folder or None, chunk_size=_LISTED):
                yield from map(_object, page)

    def head(self, key: str) -> StoredObject:
        """Return what the store says of one object. Raises NoSuchObject."""
        import obstore

        with self._errors():
            return _object(obstore.head(self._store, key))

    def download(self, found: StoredObject, target: IO[bytes]) -> Iterator[int]:
        """Copy an object into a file and yield the size of each piece. Raises ObjectChanged, NoSuchObject."""
        import obstore

        options: Any = {"if_match": found.etag} if found.etag else {}
        with self._errors():
            answer = obstore.get(self._store, found.key, options=options)
            size = 0
            for piece in answer.stream(min_chunk_size=_PART):
                size += target.write(piece)
                yield len(piece)
        if size != found.size:
            raise ObjectChanged

    def read(self, key: str) -> bytes:
        """Return a small object's content. Raises NoSuchObject."""
        import obstore

        with self._errors():
            return bytes(obstore.get(self._store, key).bytes())

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Put an object: readers see all of it or what was there, which an error of `pieces` leaves."""
        import obstore

        with self._errors():
            obstore.put(self._store, key, iter(pieces), chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are none to worry about."""
        import obstore

        with self._errors():
            for key in keys:
                try:
                    obstore.delete(self._store, key)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from obstore import exceptions as raised

        try:
            yield
        except (FileNotFoundError, raised.NotFoundError) as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise NoSuchBucket(f"There is no bucket {self._bucket!r}.") from None
            raise NoSuchObject from None
        except raised.PreconditionError:
            raise ObjectChanged from None
        except (raised.BaseError, OSError) as error:
            raise self._understood(error) from None

    def _understood(self, error: Exception) -> ConnectorError:
        if self._proxy.refused.is_set():
            return ForbiddenAddress("The store resolves to an address that connectors may not connect to.")
        status, code = _STATUS.search(str(error)), _CODE.search(str(error))
        said = " ".join(found[1] for found in (status, code) if found)
        where = f"The object store of {self._bucket!r}"
        number = int(status[1]) if status else 0
        if number in (401, 403) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
            return Unauthorized(f"{where} refuses these credentials ({said or 'no status'}).")
        if number == 404:
            return NoSuchBucket(f"There is no bucket {self._bucket!r}.")
        if number == 429:
            return RateLimited(f"{where} asks for fewer requests ({said}).")
        if number == _INSUFFICIENT_STORAGE or (code and code[1] in _FULL):
            return OutOfSpace(f"{where} is full ({said}).")
        if "certificate" in str(error).lower():
            return Untrusted(f"The certificate of {where.lower()} is not trusted.")
        if number and number not in RETRIED and number < 500:
            return Unreadable(f"{where} does not accept the request ({said}).")
        return Unreachable(f"{where} cannot be reached, or breaks off ({said or 'no answer'}).")


@contextmanager
def opened(storage: AnyStorage, bucket: str, limits: TransferLimits = _LIMITS) -> Iterator[ObjectStore]:
    """Hold a bucket open; nothing is sent before it is used. Raises ConnectorError."""
    try:
        import obstore  # noqa: F401 - to say what is missing
    except ImportError:
        raise StoreClientMissing("Object stores need the package obstore.") from None
    with guarded_proxy(limits) as proxy:
        client: dict[str, Any] = {
            "connect_timeout": _duration(limits.connect_timeout),
            "read_timeout": _duration(limits.read_timeout),
            "timeout": _duration(limits.response_timeout),
            "http1_only": True,
            "proxy_url": proxy.url,
        }
        if storage.endpoint is not None:
            client["allow_http"] = storage.endpoint.startswith("http://")
        elif not (storage.has_credentials or storage.anonymous):
            # Where the machine's own identity comes from: the provider's hosts are the only others here.
            client["proxy_excludes"] = _METADATA_SERVICES
        try:
            store = _store(storage, bucket, client, limits)
        except Exception as error:  # whatever it is, its text may quote the configuration
            raise Unauthorized(f"The store's configuration cannot be used: {type(error).__name__}.") from None
        yield ObjectStore(store, bucket, proxy)


def _store(
    storage: AnyStorage, bucket: str, client: Any, limits: TransferLimits
) -> obstore.store.ObjectStore:
    from obstore.store import AzureStore, GCSStore, S3Store

    retries = {
        "max_retries": limits.attempts - 1,
        "retry_timeout": timedelta(seconds=limits.retry_timeout),
    }
    options: dict[str, Any] = {"client_options": client, "retry_config": retries}
    config: Any = {"skip_signature": True} if storage.anonymous else {}
    match storage:
        case S3Storage():
            config |= _present(region=storage.region, endpoint=storage.endpoint)
            return S3Store(bucket, config=config, credential_provider=_s3_credentials(storage), **options)
        case GcsStorage():
            key = storage.service_account_key
            config |= _present(
                base_url=storage.endpoint, service_account_key=key.get_secret_value() if key else None
            )
            return GCSStore(bucket, config=config, **options)
        case AzureStorage():
            secrets = {
                name: value.get_secret_value()
                for name, value in (
                    ("account_key", storage.account_key),
                    ("sas_key", storage.sas_token),
                    ("client_secret", storage.client_secret),
                )
                if value is not None
            }
            config |= secrets | _present(
                account_name=storage.account_name,
                endpoint=storage.endpoint,
                tenant_id=storage.tenant_id,
                client_id=storage.client_id,
            )
            return AzureStore(bucket, config=config, **options)


def _s3_credentials(storage: S3Storage) -> Any:
    """The configured keys as a function: so no key or token of the environment is mixed with them."""
    if storage.secret_access_key is None:
        return None
    token = storage.session_token
    credentials = {
        "access_key_id": storage.access_key_id,
        "secret_access_key": storage.secret_access_key.get_secret_value(),
        "token": token.get_secret_value() if token else None,
        "expires_at": None,
    }
    return lambda: credentials


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def _present(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _object(listed: Any) -> StoredObject:
    return StoredObject(
        key=listed["path"], size=listed["size"], modified=listed["last_modified"], etag=listed["e_tag"]
    )
