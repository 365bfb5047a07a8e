"""Object stores: a real S3-compatible one, and servers that speak Google's and Azure's protocols."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes.blob_stores import BUCKET, azure_storage, gcs_storage, run_azure, run_gcs
from pydantic import TypeAdapter, ValidationError
from s3_server import S3Server

from headrace.connectors import ReadRequest, Unauthorized, Unreachable, Unreadable
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.files.found import FileChanged
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.stores import object_store
from headrace.connectors.kit.stores.config import Storage
from headrace.connectors.kit.stores.object_store import NoSuchBucket, NoSuchObject, ObjectChanged, ObjectStore

_MEGABYTE = 1024 * 1024


@contextmanager
def opened(storage: dict[str, Any], bucket: str) -> Iterator[ObjectStore]:
    with object_store.opened(TypeAdapter(Storage).validate_python(storage), bucket) as store:
        yield store


@pytest.fixture(params=["s3", "gcs", "azure"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, Any], str]]:
    """The `storage` section and the bucket of each kind of store."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        yield server.storage(), server.fresh_bucket()
    else:
        run, storage = (run_gcs, gcs_storage) if request.param == "gcs" else (run_azure, azure_storage)
        with run() as fake:
            yield storage(fake), BUCKET


@pytest.fixture
def no_private_networks() -> Iterator[None]:
    addresses.allow_private_networks(False)
    yield
    addresses.allow_private_networks(True)


def test_an_object_comes_back_as_it_was_written(place):
    large = os.urandom(20 * _MEGABYTE)
    with opened(*place) as store:
        store.write(
            "a/large", (large[start : start + _MEGABYTE] for start in range(0, len(large), _MEGABYTE))
        )
        store.write("a/k=x%20y/\u00e9 b", [b"small"])
        store.write("b", [])
        target = io.BytesIO()
        found = list(store.list("a"))
        pieces = list(store.download(found[1], target))

        assert [(one.key, one.size) for one in found] == [("a/k=x%20y/\u00e9 b", 5), ("a/large", len(large))]
        assert target.getvalue() == large
        assert max(pieces) < 12 * _MEGABYTE
        assert store.read("b") == b""


def test_an_upload_that_fails_on_the_way_leaves_what_was_there(place):
    def cut_off() -> Iterator[bytes]:
        yield os.urandom(20 * _MEGABYTE)
        raise KeyError("lost")

    with opened(*place) as store:
        store.write("a", [b"old"])
        for key in ("a", "b"):
            with pytest.raises(KeyError):
                store.write(key, cut_off())

        assert store.read("a") == b"old"
        assert [one.key for one in store.list("")] == ["a"]


def test_an_object_that_was_replaced_is_not_taken_for_the_one_that_was_found(place):
    with opened(*place) as store:
        store.write("a", [b"old"])
        found = store.head("a")
        store.write("a", [b"new"])

        with pytest.raises(ObjectChanged):
            list(store.download(found, io.BytesIO()))


def test_what_is_missing_is_missing_and_may_be_deleted(place):
    storage, bucket = place
    with opened(storage, bucket) as store:
        store.delete(["nothing"])
        with pytest.raises(NoSuchObject):
            store.head("nothing")
    with opened(storage, "no-such-bucket") as store, pytest.raises(NoSuchBucket):
        list(store.list(""))


def test_wrong_credentials_are_told_without_their_values(s3_server, place):
    storage, bucket = place
    wrong = {
        "s3": {"secret_access_key": "wrong-horse"},
        "azure": {"account_key": "d3JvbmctaG9yc2U="},
        "gcs": gcs_storage_of_a_stranger(storage),
    }[storage["type"]]
    with opened(storage | wrong, bucket) as store:
        for use in (lambda: list(store.list("")), lambda: store.write("a", [b"x"])):
            with pytest.raises(Unauthorized) as caught:
                use()
            assert "wrong-horse" not in str(caught.value)


def gcs_storage_of_a_stranger(storage: dict[str, Any]) -> dict[str, Any]:
    if storage["type"] != "gcs":
        return {}
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    class _Store:
        url = storage["endpoint"]

    return gcs_storage(_Store(), stranger)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_private_networks")
def test_a_private_endpoint_is_refused_where_private_networks_are(place):
    with opened(*place) as store:
        for use in (lambda: list(store.list("")), lambda: store.write("a", [b"x"])):
            with pytest.raises(ForbiddenAddress):
                use()


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254", "https://169.254.169.254", "http://[fe80::1]"]
)
def test_a_metadata_service_is_no_object_store(s3_server, endpoint):
    with opened(s3_server.storage(endpoint=endpoint), "bucket") as store, pytest.raises(ForbiddenAddress):
        list(store.list(""))


def test_a_store_that_does_not_answer_may_do_so_later(s3_server):
    storage = s3_server.storage(endpoint="http://127.0.0.1:1")

    with opened(storage, "bucket") as store, pytest.raises(Unreachable) as caught:
        store.read("a")

    assert caught.value.temporary


def test_keys_of_the_environment_are_not_mixed_with_those_of_the_configuration(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stray")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    with opened(s3_server.storage(), s3_server.fresh_bucket()) as store:
        store.write("a", [b"x"])
        assert store.read("a") == b"x"


def test_files_of_a_store_are_matched_as_local_ones_are(s3_server):
    bucket = s3_server.fresh_bucket()
    with opened(s3_server.storage(), bucket) as store:
        for key in ("in/a.csv", "in/b/c.csv", "in/b/d/e.csv", "in/.hidden/f.csv", "in/.g.csv", "other/h.csv"):
            store.write(key, [f"a\n{key}\n".encode()])

    def read(pattern: str) -> list[str]:
        config = {"paths": f"s3://{bucket}/{pattern}", "storage": s3_server.storage()}
        batches: Any = FilesSource.model_validate(config).read(ReadRequest(stream="s"))
        return [row["a"] for batch in batches for row in batch.to_pylist()]

    assert read("in/**/*.csv") == ["in/a.csv", "in/b/c.csv", "in/b/d/e.csv"]
    assert read("in/*/[!d].csv") == ["in/b/c.csv"]
    assert read("**/?.csv")[-1] == "other/h.csv"
    assert read("in/a.csv") == ["in/a.csv"]
    for pattern in ("in/x.csv", "no/**"):
        with pytest.raises(Unreadable, match="No file matches"):
            read(pattern)


def test_an_object_that_is_replaced_after_it_was_listed_fails_the_run_for_now(s3_server):
    bucket = s3_server.fresh_bucket()
    source = FilesSource.model_validate({"paths": f"s3://{bucket}/*", "storage": s3_server.storage()})
    with opened(s3_server.storage(), bucket) as store:
        for name in ("a.csv", "b.csv"):
            store.write(name, [b"a\n1\n"])
        rows = source.read(ReadRequest(stream="things"))
        next(rows)
        store.write("b.csv", [b"a\n2\n"])

        with pytest.raises(FileChanged):
            list(rows)


@pytest.mark.parametrize(
    "config",
    [
        {"paths": "s3://bucket/a.csv", "storage": {"type": "gcs"}},
        {"paths": ["s3://bucket/a.csv", "gs://bucket/a.csv"]},
        {"paths": "az://container/a.csv"},
        {"paths": "/data/a.csv", "storage": {"type": "s3"}},
        {"paths": "s3://bucket/../a.csv"},
        {"paths": "s3:///a.csv"},
        {"paths": "s3://bucket/a.csv", "storage": {"type": "s3", "access_key_id": "a"}},
        {"paths": "s3://bucket/a.csv", "storage": {"type": "s3", "endpoint": "https://elsewhere.example"}},
        {"paths": "s3://bucket/a.csv", "storage": {"type": "s3", "endpoint": "https://user:pw@host"}},
        {"paths": "az://c/a.csv", "storage": {"type": "azure", "account_name": "a/b"}},
    ],
)
def test_a_configuration_whose_parts_do_not_go_together_is_refused(config):
    with pytest.raises(ValidationError):
        FilesSource.model_validate(config)
