"""Object stores as part of a configuration: whose they are, where they are, and as whom to come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.stores.google_key import ServiceAccountKey

_ENDPOINT = r"^https?://[^/@\s?#]+(/[^@\s?#]*)?$"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SCHEMES = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "azure": "azure"}


class _Store(Section):
    endpoint: str | None = Field(
        None, pattern=_ENDPOINT, description="Where the service is; unset: the provider's own."
    )
    anonymous: bool = Field(False, description="Send no credentials: for public data.")

    address_fields: ClassVar[tuple[str, ...]] = ("endpoint",)

    @model_validator(mode="after")
    def _keep_the_machine_s_identity_at_home(self) -> _Store:
        # Its tokens would go to whatever answers there.
        if self.endpoint is not None and not (self.anonymous or self.has_credentials):
            raise PydanticCustomError(
                "credentials_missing", "An endpoint of one's own needs credentials, or `anonymous`."
            )
        return self

    @property
    def has_credentials(self) -> bool:
        """Whether the configuration says as whom to come; otherwise it is as the worker's machine."""
        raise NotImplementedError


class S3Storage(_Store):
    """Amazon S3 and what speaks its protocol. Without keys the machine's own identity is used."""

    type: Literal["s3"] = "s3"
    region: str = Field("us-east-1", pattern=r"^[\w-]+$")
    access_key_id: str | None = Field(None, min_length=1)
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None

    address_fields: ClassVar[tuple[str, ...]] = ("endpoint", "region")

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> S3Storage:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise PydanticCustomError(
                "credentials_missing", "Give both `access_key_id` and `secret_access_key`."
            )
        return self

    @property
    def has_credentials(self) -> bool:
        """Whether there are keys."""
        return self.access_key_id is not None


class GcsStorage(_Store):
    """Google Cloud Storage. Without a key file the machine's own identity is used."""

    type: Literal["gcs"] = "gcs"
    service_account_key: ServiceAccountKey | None = Field(
        None, description="The key file's JSON, as text or as an object."
    )

    @property
    def has_credentials(self) -> bool:
        """Whether there is a key file."""
        return self.service_account_key is not None


class AzureStorage(_Store):
    """Azure Blob Storage. Without any credentials the machine's own identity is used."""

    type: Literal["azure"] = "azure"
    account_name: str = Field(pattern=r"^[a-z0-9]{3,24}$")
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    tenant_id: str | None = Field(None, pattern=r"^[\w.-]+$")
    client_id: str | None = Field(None, pattern=r"^[\w-]+$")
    client_secret: SecretStr | None = None

    address_fields: ClassVar[tuple[str, ...]] = ("endpoint", "account_name", "tenant_id")

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> AzureStorage:
        application = (self.tenant_id, self.client_id, self.client_secret)
        if any(application) and not all(application):
            raise PydanticCustomError(
                "credentials_missing", "An application needs `tenant_id`, `client_id` and `client_secret`."
            )
        if sum(map(bool, (self.account_key, self.sas_token, all(application)))) > 1:
            raise PydanticCustomError("credentials_ambiguous", "Give one kind of credentials, not several.")
        return self

    @property
    def has_credentials(self) -> bool:
        """Whether there is a key, a SAS token or an application."""
        return any((self.account_key, self.sas_token, self.client_secret))


AnyStorage = S3Storage | GcsStorage | AzureStorage
Storage = Annotated[AnyStorage, Field(discriminator="type")]


@dataclass(frozen=True, kw_only=True)
class StoreUrl:
    """A place in an object store."""

    scheme: str
    bucket: str  # with Azure: the container
    key: str  # without a slash at its start; may be empty, or a pattern


def is_store_url(text: str) -> bool:
    """Whether a text begins as the URL of an object store does."""
    return text.partition("://")[0].lower() in _SCHEMES and "://" in text


def store_url(text: str) -> StoreUrl:
    """Take apart `s3://bucket/key`, `gs://bucket/key` and `az://container/key`. Raises ValueError."""
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    parts = key.rstrip("/").split("/") if key.strip("/") else []
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("The URL names no bucket.")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("A key has no empty, `.` or `..` part.")
    return StoreUrl(scheme=scheme.lower(), bucket=bucket, key="/".join(parts))


def storage_for(urls: list[str], storage: AnyStorage | None) -> AnyStorage | None:
    """Return where URLs lead: what is configured, or the machine's own identity; None without a store.

    Raises PydanticCustomError where the two do not go together.
    """
    try:
        kinds = {_SCHEMES[store_url(url).scheme] for url in urls if is_store_url(url)}
    except ValueError as error:
        raise PydanticCustomError("store_url", "{detail}", {"detail": str(error)}) from None
    if len(kinds) > 1:
        raise PydanticCustomError("several_stores", "One pipeline reads from one object store.")
    if storage is not None and kinds != {storage.type}:
        raise PydanticCustomError("storage_unused", "`storage` is of another kind than the URLs.")
    if storage is not None or not kinds:
        return storage
    if kinds == {"azure"}:
        raise PydanticCustomError("storage_missing", "Name the account in `storage`.")
    return S3Storage() if kinds == {"s3"} else GcsStorage()
