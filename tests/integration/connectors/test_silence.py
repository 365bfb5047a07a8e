"""Servers that fall silent in the middle: a proxy keeps the connections open and passes nothing on."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from adbc_driver_manager.dbapi import Connection
from postgres_server import PostgresServer

from headrace.connectors import Unreachable, Unreadable
from headrace.connectors.mysql import connection as mysql_connection
from headrace.connectors.mysql.connection import MySQLConnection
from headrace.connectors.postgres.connection import PostgresConnection, connected, execute, fetch, stream

LIMITS = {"read_timeout": 1.0, "connect_timeout": 2.0}


class Proxy:
    """Passes on what comes, until a client sends `word`: from then on nothing of that connection."""

    def __init__(self, port: int, word: bytes, *, silences_all: bool = False) -> None:
        self._target, self._word, self._silences_all = port, word, silences_all
        self._server = socket.create_server(("127.0.0.1", 0))
        self._everybody = threading.Event()
        self._ended = threading.Event()
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                silent = self._everybody if self._silences_all else threading.Event()
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(*pair, silent), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                if self._word in data:
                    silent.set()
                if silent.is_set():
                    self._ended.wait(60)
                    return
                target.sendall(data)


@pytest.fixture(params=[False, True], ids=["one-connection", "the-whole-network"])
def silent(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[PostgresConnection]:
    """A server behind a proxy that falls silent at a word."""
    proxy = Proxy(postgres_server.port, b"fall_silent", silences_all=request.param)
    url = postgres_server.url().replace(str(postgres_server.port), str(proxy.port))
    yield PostgresConnection.model_validate({"url": url, "limits": LIMITS})
    proxy.close()


def read_it(connection: Connection) -> None:
    for _ in stream(connection, "SELECT 1 AS fall_silent", Unreadable):
        pass


def write_it(connection: Connection) -> None:
    execute(connection, "CREATE TEMPORARY TABLE fall_silent (n int)")


@pytest.mark.parametrize("ask", [read_it, write_it])
def test_an_answer_that_never_comes_is_given_up(
    silent: PostgresConnection, ask: Callable[[Connection], None]
) -> None:
    began = time.monotonic()

    with pytest.raises(Unreachable), connected(silent, Unreadable) as connection:
        ask(connection)

    assert time.monotonic() - began < 15


def test_a_long_statement_is_waited_for(postgres_server: PostgresServer) -> None:
    direct = PostgresConnection.model_validate({"url": postgres_server.url(), "limits": LIMITS})

    with connected(direct, Unreadable) as connection:
        assert fetch(connection, "SELECT 1 FROM pg_sleep(2)") == [(1,)]


def test_a_connection_that_nobody_waits_for_may_be_silent(postgres_server: PostgresServer) -> None:
    direct = PostgresConnection.model_validate({"url": postgres_server.url(), "limits": LIMITS})

    with connected(direct, Unreadable) as connection:
        rows: Any = stream(connection, "SELECT n FROM generate_series(1, 500000) n", Unreadable)
        first = next(rows).num_rows
        time.sleep(2)  # the run writes to a slow disk

        assert first + sum(batch.num_rows for batch in rows) == 500_000


@pytest.mark.parametrize("silences_all", [False, True])
def test_a_mysql_server_that_falls_silent_is_given_up(
    mysql_config: dict[str, Any], silences_all: bool
) -> None:
    proxy = Proxy(mysql_config["port"], b"fall_silent", silences_all=silences_all)
    behind = MySQLConnection.model_validate(
        {**mysql_config, "port": proxy.port, "tls": "disable", "limits": LIMITS}
    )
    began = time.monotonic()

    with pytest.raises(Unreachable), mysql_connection.connected(behind, Unreadable) as connection:
        mysql_connection.fetch(connection, "SELECT 1 AS fall_silent")
    proxy.close()

    assert time.monotonic() - began < 15


def test_a_mysql_server_that_does_not_greet_is_given_up(mysql_config: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        config = MySQLConnection.model_validate(
            {**mysql_config, "port": port, "tls": "disable", "limits": LIMITS}
        )

        with pytest.raises(Unreachable), mysql_connection.connected(config, Unreadable):
            pass


def test_a_long_statement_of_mysql_is_waited_for(mysql_config: dict[str, Any]) -> None:
    config = MySQLConnection.model_validate({**mysql_config, "tls": "disable", "limits": LIMITS})

    with mysql_connection.connected(config, Unreadable) as connection:
        assert mysql_connection.fetch(connection, "SELECT SLEEP(2)") == [(0,)]
