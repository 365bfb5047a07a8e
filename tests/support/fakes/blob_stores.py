"""Local servers that speak what the client of object stores asks of Google Cloud Storage and Azure Blobs.

Google's is the XML API (cloud.google.com/storage/docs/xml-api), with tokens that the account's key signed;
Azure's is Blob Storage's REST API (learn.microsoft.com/rest/api/storageservices) with shared-key signatures.
Both keep objects in memory, list in pages of two, and publish parts only when they are put together.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from http_servers.server import Answer, Asked, serving

BUCKET = "warehouse"
ACCOUNT, ACCOUNT_KEY = "headracetests", base64.b64encode(b"a key of thirty-two bytes, about").decode()
_PAGE = 2
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Blob:
    content: bytes
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content + self.modified.isoformat().encode()).hexdigest()}"'

    def headers(self) -> dict[str, str]:
        return {"ETag": self.etag, "Last-Modified": format_datetime(self.modified, usegmt=True)}


@dataclass
class FakeStore:
    """What either server keeps: one bucket."""

    url: str = ""
    blobs: dict[str, Blob] = field(default_factory=dict)
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by upload, not yet put together

    def get(self, key: str, asked: Asked) -> Answer:
        blob = self.blobs.get(key)
        if blob is None:
            return Answer(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")
        if asked.headers.get("if-match", blob.etag) != blob.etag:
            return Answer(status=412)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
        if wanted is None:
            return Answer(body=blob.content, headers=blob.headers())
        start, end = int(wanted[1]), int(wanted[2] or len(blob.content) - 1)
        part = blob.content[start : end + 1]
        where = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(blob.content)}"}
        return Answer(status=206, body=part, headers=blob.headers() | where)

    def put(self, key: str, content: bytes, status: int) -> Answer:
        self.blobs[key] = Blob(content)
        return Answer(status=status, headers=self.blobs[key].headers() | {"x-goog-generation": "1"})

    def page(self, prefix: str, after: str) -> tuple[list[str], str]:
        """The next keys, and where to go on."""
        keys = sorted(key for key in self.blobs if key.startswith(prefix) and key > after)
        return keys[:_PAGE], keys[_PAGE - 1] if len(keys) > _PAGE else ""


def _xml(text: str, status: int = 200) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()
    return Answer(body=body, status=status, headers={"Content-Type": "application/xml"})


@contextmanager
def run_gcs() -> Iterator[FakeStore]:
    """Serve Google Cloud Storage with one bucket."""
    store = FakeStore()
    with serving(lambda asked: _gcs(store, asked)) as server:
        store.url = server.url
        yield store


def gcs_storage(store: FakeStore, key: rsa.RSAPrivateKey = _KEY) -> dict[str, Any]:
    """The `storage` section that leads to a store."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "loader@my-project.iam.gserviceaccount.com",
        "private_key_id": "key-1",
        "private_key": pem.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return {"type": "gcs", "endpoint": store.url, "service_account_key": account}


def _gcs(store: FakeStore, asked: Asked) -> Answer:
    if not _is_signed_token(asked.headers.get("authorization", "")):
        return _xml("<Error><Code>AuthenticationRequired</Code></Error>", 401)
    bucket, _, key = unquote(asked.path).lstrip("/").partition("/")
    if bucket != BUCKET:
        return _xml("<Error><Code>NoSuchBucket</Code></Error>", 404)
    match asked.method, asked.query:
        case "GET", {"list-type": _}:
            return _gcs_list(store, asked.query)
        case (("GET" | "HEAD"), _):
            return store.get(key, asked)
        case "DELETE", {"uploadId": upload}:
            del store.parts[upload]
            return Answer(status=204)
        case "DELETE", _:
            return Answer(status=204 if store.blobs.pop(key, None) else 404)
        case "POST", {"uploads": _}:
            upload = f"upload-{len(store.parts)}"
            store.parts[upload] = {}
            return _xml(
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        case "PUT", {"uploadId": upload, "partNumber": number}:
            if upload not in store.parts:  # given up in the meantime
                return _xml("<Error><Code>NoSuchUpload</Code></Error>", 404)
            store.parts[upload][number] = asked.body
            return Answer(headers={"ETag": f'"{number}"'})
        case "POST", {"uploadId": upload}:
            numbers = re.findall(rb"<PartNumber>(\d+)</PartNumber>", asked.body)
            parts = store.parts.pop(upload)
            answer = store.put(key, b"".join(parts[number.decode()] for number in numbers), 200)
            etag = escape(answer.headers["ETag"])
            return _xml(f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")
        case "PUT", _:
            return store.put(key, asked.body, 200)
    return Answer(status=405)


def _gcs_list(store: FakeStore, query: dict[str, str]) -> Answer:
    keys, more = store.page(query.get("prefix", ""), query.get("continuation-token", ""))
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{len(store.blobs[key].content)}</Size>"
        f"<LastModified>{store.blobs[key].modified:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
        f"<ETag>{escape(store.blobs[key].etag)}</ETag></Contents>"
        for key in keys
    )
    token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
    truncated = "true" if more else "false"
    return _xml(
        f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{contents}{token}</ListBucketResult>"
    )


def _is_signed_token(authorization: str) -> bool:
    signed, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
    try:
        _KEY.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(_decoded(signed.partition(".")[2]))
    except (InvalidSignature, ValueError):
        return False
    return bool(claims["exp"] > datetime.now(UTC).timestamp())


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def run_azure() -> Iterator[FakeStore]:
    """Serve Azure Blob Storage with one container."""
    store = FakeStore()
    with serving(lambda asked: _azure(store, asked)) as server:
        store.url = server.url
        yield store


def azure_storage(store: FakeStore) -> dict[str, Any]:
    """The `storage` section that leads to a store."""
    return {
        "type": "azure", "endpoint": store.url, "account_name": ACCOUNT, "account_key": ACCOUNT_KEY,
    }  # fmt: skip


def _azure(store: FakeStore, asked: Asked) -> Answer:
    if not hmac.compare_digest(asked.headers.get("authorization", ""), _shared_key(asked)):
        return _xml("<Error><Code>AuthenticationFailed</Code></Error>", 403)
    container, _, key = unquote(asked.path).lstrip("/").partition("/")
    if container != BUCKET:
        return _xml("<Error><Code>ContainerNotFound</Code></Error>", 404)
    match asked.method, asked.query:
        case "GET", {"comp": "list"}:
            return _azure_list(store, asked.query)
        case (("GET" | "HEAD"), _):
            found = store.get(key, asked)
            found.headers["x-ms-blob-type"] = "BlockBlob"
            return found
        case "POST", {"comp": "batch"}:
            return _azure_deletes(store, asked.body)
        case "PUT", {"comp": "block", "blockid": block}:
            store.parts.setdefault(key, {})[block] = asked.body
            return Answer(status=201)
        case "PUT", {"comp": "blocklist"}:
            blocks = re.findall(r"<Uncommitted>([^<]*)</Uncommitted>", asked.body.decode())
            parts = store.parts.pop(key, {})
            return store.put(key, b"".join(parts[block] for block in blocks), 201)
        case "PUT", _ if asked.headers.get("x-ms-blob-type") == "BlockBlob":
            return store.put(key, asked.body, 201)
    return Answer(status=405)


def _azure_deletes(store: FakeStore, body: bytes) -> Answer:
    answers = []
    for number, path in enumerate(re.findall(rf"DELETE /{BUCKET}/(\S+) HTTP/1.1", body.decode())):
        status = "202 Accepted" if store.blobs.pop(unquote(path), None) else "404 The specified blob is gone"
        head = f"Content-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
        answers.append(f"--deleted\r\n{head}HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n\r\n")
    kind = {"Content-Type": "multipart/mixed; boundary=deleted"}
    return Answer(status=202, body="".join([*answers, "--deleted--\r\n"]).encode(), headers=kind)


def _azure_list(store: FakeStore, query: dict[str, str]) -> Answer:
    keys, more = store.page(query.get("prefix", ""), query.get("marker", ""))
    blobs = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties>"
        f"<Last-Modified>{format_datetime(store.blobs[key].modified, usegmt=True)}</Last-Modified>"
        f"<Content-Length>{len(store.blobs[key].content)}</Content-Length>"
        f"<Content-Type>application/octet-stream</Content-Type><Etag>{escape(store.blobs[key].etag)}</Etag></Properties></Blob>"
        for key in keys
    )
    return _xml(
        f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{escape(more)}</NextMarker></EnumerationResults>"
    )


def _shared_key(asked: Asked) -> str:
    """The signature of a request, as 'Authorize with Shared Key' of Azure's documentation has it."""
    length = asked.headers.get("content-length", "")
    standard = (
        "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
        "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
    )  # fmt: skip
    values = {**asked.headers, "content-length": "" if length == "0" else length}
    own = sorted((name, value.strip()) for name, value in asked.headers.items() if name.startswith("x-ms-"))
    lines = [
        asked.method,
        *(values.get(name, "") for name in standard),
        *(f"{name}:{value}" for name, value in own),
        f"/{ACCOUNT}{asked.path}",
        *(f"{name}:{value}" for name, value in sorted(asked.query.items())),
    ]
    digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), "\n".join(lines).encode(), "sha256")
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
