"""The connectors that have a network, each as one pipeline whose network can be made faulty."""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg
import urllib3
from fakes.bigquery import run_bigquery
from http_servers.hubspot import Portal, portal_server
from http_servers.notion import TOKEN, Workspace, workspace_server
from http_servers.public_apis import gbif, pokeapi
from http_servers.secret_keepers import Google, vault
from http_servers.server import Answer, Asked, serving
from mariadb_server import PASSWORD as MYSQL_PASSWORD
from mariadb_server import MariaDBServer
from net_faults.peer import Peer
from postgres_server import PASSWORD, PostgresServer
from s3_server import S3Server

Json = dict[str, Any]
Kind = Literal["postgres", "mysql", "http"]
PAD = "x" * 100
BEFORE, AFTER = list(range(1, 21)), list(range(1, 61))
DATABASE_LIMITS = {"connect_timeout": 2, "read_timeout": 1, "lock_timeout": 1}
API_LIMITS = {
    "connect_timeout": 2, "read_timeout": 1, "response_timeout": 2, "attempts": 2, "retry_timeout": 3,
    "longest_wait": 1,
}  # fmt: skip
WAREHOUSE_LIMITS = {name: value for name, value in API_LIMITS.items() if name != "longest_wait"}


@dataclass
class Servers:
    """The real servers, started when they are first asked for."""

    postgres: Callable[[], PostgresServer]
    mariadb: Callable[[], MariaDBServer]
    s3: Callable[[], S3Server]


@dataclass
class Place:
    """Where a pipeline finds the server: what a fault may change."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: Literal["", "any", "trusted"] = ""


@dataclass
class Case(ABC):
    """One connector in a pipeline."""

    servers: Servers
    folder: Path
    stack: ExitStack
    peer: Peer = field(init=False)

    name: ClassVar[str]
    kind: ClassVar[Kind]
    word: ClassVar[bytes]  # the client sends it with the request that goes wrong
    after: ClassVar[int] = 0  # bytes of the answer, up to its middle
    commit: ClassVar[bytes] = b""  # what publishes a load; empty: no destination
    skip: ClassVar[int] = 0  # how many of those come before
    bound: ClassVar[float] = 15.0  # seconds within which every fault ends, under the limits of the tests
    document: ClassVar[str] = "JSON"  # what a broken answer is

    def __post_init__(self) -> None:
        self.peer = Peer(self.start())
        self.stack.callback(self.peer.close)

    @abstractmethod
    def start(self) -> int:
        """Start the server and return its port; it holds BEFORE, if it is a source's."""

    @abstractmethod
    def pipeline(self, place: Place) -> Json:
        """Return the pipeline's document."""

    @abstractmethod
    def grow(self) -> None:
        """Let the source hold AFTER."""

    @abstractmethod
    def delivered(self) -> list[Any]:
        """Read the destination, without the connector."""

    def before(self) -> list[Any]:
        """Return what the destination holds after a first run."""
        return BEFORE

    def after_growth(self) -> list[Any]:
        """Return what it holds after a second one."""
        return AFTER


def rows(ids: list[int]) -> list[Json]:
    """Return the records of some ids."""
    return [{"id": number, "pad": PAD} for number in ids]


def lines(ids: list[int]) -> bytes:
    """Return them as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows(ids)).encode()


class SourceCase(Case):
    """A source; its rows go to SQLite, which has no network."""

    stream: ClassVar[str] = "items"

    @abstractmethod
    def source(self, place: Place) -> Json:
        """Return the source's section."""

    def pipeline(self, place: Place) -> Json:
        destination = {"name": "sqlite", "config": {"path": str(self.folder / "it.sqlite")}}
        source = {"stream": self.stream, **self.source(place)}
        return {"name": self.name, "source": source, "destination": destination}

    def delivered(self) -> list[Any]:
        connection = sqlite3.connect(self.folder / "it.sqlite")
        try:
            table = self.stream.replace(".", "_")
            return sorted(value for (value,) in connection.execute(f"SELECT {self.key} FROM {table}"))
        finally:
            connection.close()

    key: ClassVar[str] = "id"


class PostgresSource(SourceCase):
    name, kind, word, after, stream = "postgres source", "postgres", b"COPY", 200, "public.items"

    def start(self) -> int:
        server = self.servers.postgres()
        self.url = server.fresh_database()
        self.stack.callback(server.drop_database, self.url)
        self._fill(BEFORE)
        return server.port

    def source(self, place: Place) -> Json:
        return {"name": "postgres", **postgres_config(place, self.url)}

    def grow(self) -> None:
        self._fill(AFTER)

    def _fill(self, ids: list[int]) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS items (id bigint, pad text)")
            connection.execute("TRUNCATE items")
            connection.cursor().executemany("INSERT INTO items VALUES (%s, %s)", [(n, PAD) for n in ids])


class MySQLSource(SourceCase):
    name, kind, word, after = "mysql source", "mysql", b'FROM "items"', 200

    def start(self) -> int:
        server = self.servers.mariadb()
        self.config = server.fresh_database()
        self.stack.callback(server.drop_database, self.config)
        self._fill(BEFORE)
        return server.port

    def source(self, place: Place) -> Json:
        return {"name": "mysql", **mysql_config(place, self.config)}

    def grow(self) -> None:
        self._fill(AFTER)

    def _fill(self, ids: list[int]) -> None:
        with (
            self.servers.mariadb().connection(self.config["database"]) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("CREATE TABLE IF NOT EXISTS items (id bigint, pad text)")
            cursor.execute("DELETE FROM items")
            cursor.executemany("INSERT INTO items VALUES (%s, %s)", [(n, PAD) for n in ids])


def postgres_config(place: Place, url: str) -> Json:
    return {
        "host": place.host, "port": place.port, "database": url.rpartition("/")[2], "user": "postgres",
        "password": PASSWORD,
        "sslmode": {"any": "require", "trusted": "verify-full"}.get(place.tls, "disable"),
        "limits": DATABASE_LIMITS,
    }  # fmt: skip


def mysql_config(place: Place, config: Json) -> Json:
    return config | {
        "host": place.host, "port": place.port, "password": MYSQL_PASSWORD, "limits": DATABASE_LIMITS,
        "tls": {"any": "require", "trusted": "verify-identity"}.get(place.tls, "disable"),
    }  # fmt: skip


class HttpSource(SourceCase):
    kind = "http"
    after = 400
    ids: list[int]

    def start(self) -> int:
        self.ids = BEFORE
        server = self.stack.enter_context(serving(self.answer))
        return int(server.url.rpartition(":")[2])

    def answer(self, asked: Asked) -> Answer:
        return Answer(body=rows(self.ids))

    def grow(self) -> None:
        self.ids = AFTER


def url_of(place: Place) -> str:
    return f"{'https' if place.tls else 'http'}://{place.host}:{place.port}"


class Rest(HttpSource):
    name, word = "rest source", b"GET /items"

    def source(self, place: Place) -> Json:
        return {"name": "rest", "base_url": url_of(place), "path": "items", "limits": API_LIMITS}


class WebFiles(HttpSource):
    name, word = "files source, http", b"GET /items"

    def answer(self, asked: Asked) -> Answer:
        return Answer(body=lines(self.ids))

    def source(self, place: Place) -> Json:
        return {"name": "files", "paths": f"{url_of(place)}/items.jsonl", "limits": API_LIMITS}


class Hubspot(HttpSource):
    name, word, stream = "hubspot source", b"GET /crm/v3/objects", "contacts"

    def start(self) -> int:
        self.portal = Portal()
        self._fill(BEFORE)
        return int(self.stack.enter_context(portal_server(self.portal)).url.rpartition(":")[2])

    def source(self, place: Place) -> Json:
        token = {"type": "bearer", "params": {"token": self.portal.token}}
        return {"name": "hubspot", "base_url": url_of(place), "authentication": token, "limits": API_LIMITS}

    def grow(self) -> None:
        self._fill(AFTER)

    def _fill(self, ids: list[int]) -> None:
        for number in ids:
            self.portal.add("contacts", number)

    def delivered(self) -> list[Any]:
        return sorted(map(int, super().delivered()))


class Notion(HttpSource):
    name, word, stream = "notion source", b"GET /v1/users", "users"

    def start(self) -> int:
        self.workspace = Workspace()
        self._fill(BEFORE)
        return int(self.stack.enter_context(workspace_server(self.workspace)).url.rpartition(":")[2])

    def source(self, place: Place) -> Json:
        token = {"type": "bearer", "params": {"token": TOKEN}}
        return {
            "name": "notion",
            "base_url": f"{url_of(place)}/v1",
            "authentication": token,
            "limits": API_LIMITS,
        }

    def grow(self) -> None:
        self._fill(AFTER)

    def _fill(self, ids: list[int]) -> None:
        self.workspace.users = [{"object": "user", "id": str(n)} for n in ids]

    def delivered(self) -> list[Any]:
        return sorted(map(int, super().delivered()))


class Pokeapi(HttpSource):
    name, word, stream, key = "pokeapi source", b"GET /pokemon", "pokemon", "count(*)"

    def answer(self, asked: Asked) -> Answer:
        return pokeapi(asked)

    def source(self, place: Place) -> Json:
        return {"name": "pokeapi", "base_url": url_of(place), "limits": API_LIMITS}

    def before(self) -> list[Any]:
        return [1302]

    after_growth = before


class Gbif(HttpSource):
    name, word, stream, key = "gbif source", b"GET /species", "species", "count(*)"

    def answer(self, asked: Asked) -> Answer:
        return gbif(len(self.ids))(asked)

    def source(self, place: Place) -> Json:
        return {"name": "gbif", "base_url": url_of(place), "limits": API_LIMITS}

    def before(self) -> list[Any]:
        return [len(BEFORE)]

    def after_growth(self) -> list[Any]:
        return [len(AFTER)]


class DltRest(HttpSource):
    name, word, bound = "dlt source, rest_api", b"GET /items", 20.0

    def start(self) -> int:
        # dlt's own settings, as an operator sets them.
        os.environ |= {"RUNTIME__REQUEST_TIMEOUT": "1", "RUNTIME__REQUEST_MAX_ATTEMPTS": "2"}
        self.stack.callback(os.environ.pop, "RUNTIME__REQUEST_TIMEOUT")
        self.stack.callback(os.environ.pop, "RUNTIME__REQUEST_MAX_ATTEMPTS")
        return super().start()

    def source(self, place: Place) -> Json:
        params = {"client": {"base_url": url_of(place)}, "resources": ["items"]}
        limits = {"connect_timeout": 2, "read_timeout": 1}
        return {"name": "dlt", "source": "dlt.sources.rest_api:rest_api", "params": params, "limits": limits}


class StoreFiles(SourceCase):
    name, kind, word, after, document = "files source, s3", "http", b"GET http", 700, "XML"

    def start(self) -> int:
        self.bucket = self.servers.s3().fresh_bucket()
        self._fill(BEFORE)
        return int(self.servers.s3().url.rpartition(":")[2])

    def source(self, place: Place) -> Json:
        storage = self.servers.s3().storage(endpoint=url_of(place))
        return {
            "name": "files", "paths": f"s3://{self.bucket}/in/items.jsonl", "storage": storage,
            "limits": API_LIMITS,
        }  # fmt: skip

    def grow(self) -> None:
        self._fill(AFTER)

    def _fill(self, ids: list[int]) -> None:
        url = f"{self.servers.s3().filer}/buckets/{self.bucket}/in/items.jsonl"
        assert urllib3.request("PUT", url, body=lines(ids)).status < 300


class DestinationCase(Case):
    """A destination. Its rows come from files of this machine, those that are new from a second one."""

    word: ClassVar[bytes]

    def pipeline(self, place: Place) -> Json:
        paths = str(self.folder / "in" / "*.jsonl")
        source = {"name": "files", "stream": "items", "sync_mode": "incremental", "paths": paths}
        return {"name": self.name, "source": source, "destination": self.destination(place)}

    @abstractmethod
    def destination(self, place: Place) -> Json:
        """Return the destination's section."""

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.folder / "in").mkdir()
        (self.folder / "in" / "1.jsonl").write_bytes(lines(BEFORE))

    def grow(self) -> None:
        (self.folder / "in" / "2.jsonl").write_bytes(lines(AFTER[len(BEFORE) :]))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock that the load needs, from another session."""
        raise NotImplementedError
        yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Have the server say that its disk is full."""
        raise NotImplementedError
        yield


class PostgresDestination(DestinationCase):
    name, kind, word, bound = "postgres destination", "postgres", b"COPY", 15.0
    commit, skip = rb"\x0bCOMMIT\x00", 1  # that of the ledger's columns

    def start(self) -> int:
        server = self.servers.postgres()
        self.url = server.fresh_database()
        self.stack.callback(server.drop_database, self.url)
        return server.port

    def destination(self, place: Place) -> Json:
        return {"name": "postgres", "config": postgres_config(place, self.url)}

    def delivered(self) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM items ORDER BY id")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url, application_name="headrace run another fence 3") as connection:
            connection.execute("LOCK TABLE _headrace_loads, items IN ACCESS EXCLUSIVE MODE")
            connection.execute('SELECT pg_advisory_xact_lock(hashtextextended(\'"public"."items"\', 0))')
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        refuse = (
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION USING ERRCODE = '53100',"
            " MESSAGE = 'could not extend file: No space left on device'; END $$;"
            " CREATE TRIGGER disk_full BEFORE INSERT ON items EXECUTE FUNCTION disk_full()"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(refuse)
            yield
            connection.execute("DROP FUNCTION disk_full CASCADE")


class MySQLDestination(DestinationCase):
    name, kind, word, bound = "mysql destination", "mysql", b"INSERT INTO", 15.0
    commit, skip = rb"\x03COMMIT$", 1  # that of the staged rows

    def start(self) -> int:
        server = self.servers.mariadb()
        self.config = server.fresh_database()
        self.stack.callback(server.drop_database, self.config)
        return server.port

    def destination(self, place: Place) -> Json:
        return {"name": "mysql", "config": mysql_config(place, self.config)}

    def delivered(self) -> list[Any]:
        return [number for (number,) in self._do("SELECT id FROM items ORDER BY id")]

    def _do(self, *statements: str) -> list[tuple[Any, ...]]:
        with (
            self.servers.mariadb().connection(self.config["database"]) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def locked(self) -> Iterator[None]:
        with (
            self.servers.mariadb().connection(self.config["database"]) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("LOCK TABLES items WRITE, _headrace_loads WRITE")
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        refuse = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'Disk full (items)'"
        self._do(f"CREATE TRIGGER disk_full BEFORE INSERT ON items FOR EACH ROW {refuse}")
        yield
        self._do("DROP TRIGGER disk_full")


class BigQueryDestination(DestinationCase):
    name, kind, word, commit = "bigquery destination", "http", b"POST /upload", b"BEGIN TRANSACTION"
    bound = 25.0

    def start(self) -> int:
        self.server = self.stack.enter_context(run_bigquery())
        return int(self.server.url.rpartition(":")[2])

    def destination(self, place: Place) -> Json:
        config = self.server.config(api_endpoint=url_of(place), limits=WAREHOUSE_LIMITS)
        return {"name": "bigquery", "config": config}

    def delivered(self) -> list[Any]:
        return [row["id"] for row in self.server.rows("SELECT id FROM raw_data.items ORDER BY id")]


class StoreDestination(DestinationCase):
    name, kind, word, document = "file destination, s3", "http", b"PUT http", "XML"
    commit = rb"POST http\S+_headrace/pipeline-1\.json\?uploadId"  # which puts the parts together
    bound = 15.0

    def start(self) -> int:
        self.bucket = self.servers.s3().fresh_bucket()
        return int(self.servers.s3().url.rpartition(":")[2])

    def destination(self, place: Place) -> Json:
        storage = self.servers.s3().storage(endpoint=url_of(place))
        config = {
            "path": f"s3://{self.bucket}/out",
            "format": "jsonl",
            "storage": storage,
            "limits": API_LIMITS,
        }
        return {"name": "file", "config": config}

    def delivered(self) -> list[Any]:
        """Read the files that the record lists: what is not in it is no part of the data."""
        record = json.loads(self._get("out/_headrace/pipeline-1.json"))
        found = [
            json.loads(line)["id"]
            for name in record["files"]
            for line in self._get(f"out/{name}").splitlines()
        ]
        return sorted(found)

    def _get(self, name: str) -> bytes:
        return urllib3.request("GET", f"{self.servers.s3().filer}/buckets/{self.bucket}/{name}").data


class DltPostgres(DestinationCase):
    name, kind, word, commit, bound = "dlt destination, postgres", "postgres", b"INSERT INTO", b"", 30.0

    def start(self) -> int:
        server = self.servers.postgres()
        self.url = server.fresh_database()
        self.stack.callback(server.drop_database, self.url)
        return server.port

    def destination(self, place: Place) -> Json:
        where = f"{place.host}:{place.port}/{self.url.rpartition('/')[2]}"
        credentials = f"postgresql://postgres:{PASSWORD}@{where}?sslmode=disable&connect_timeout=2"
        config = {"destination": "postgres", "dataset_name": "lake", "secrets": {"credentials": credentials}}
        return {"name": "dlt", "config": config}

    def delivered(self) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM lake.items ORDER BY id")]


class ReferenceCase(Case):
    """A keeper of secrets that a pipeline's configuration refers to."""

    kind = "http"
    after = 250
    bound = 25.0

    def pipeline(self, place: Place) -> Json:
        raise NotImplementedError

    @abstractmethod
    def settings(self, place: Place) -> Json:
        """Return the installation's settings that lead to it."""

    reference: ClassVar[str]
    value: ClassVar[str] = f"the value {PAD * 5}"

    def grow(self) -> None:
        pass

    def delivered(self) -> list[Any]:
        return []

    def before(self) -> list[Any]:
        return []

    after_growth = before


class Vault(ReferenceCase):
    name, word, reference = "vault:// references", b"GET /v1/kv", "vault://kv/db#url"

    def start(self) -> int:
        secrets = {"kv/db": {"url": self.value}}
        server = self.stack.enter_context(serving(vault(secrets, "token")))
        return int(server.url.rpartition(":")[2])

    def settings(self, place: Place) -> Json:
        return {"vault_address": url_of(place), "vault_token": "token"}


class Gsm(ReferenceCase):
    name, word, reference = "gsm:// references", b":access", "gsm://token"

    def start(self) -> int:
        self.google = Google({"token": {"1": self.value.encode()}})
        server = self.stack.enter_context(serving(self.google))
        self.google.url = server.url
        (self.folder / "key.json").write_text(self.google.key_file())
        return int(server.url.rpartition(":")[2])

    def settings(self, place: Place) -> Json:
        return {"google_credentials_file": self.folder / "key.json"}


CASES: tuple[type[Case], ...] = (
    PostgresSource, PostgresDestination, MySQLSource, MySQLDestination, BigQueryDestination, Rest, WebFiles,
    StoreFiles, StoreDestination, Hubspot, Notion, Pokeapi, Gbif, DltRest, DltPostgres, Vault, Gsm,
)  # fmt: skip
