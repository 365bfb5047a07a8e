"""Start PostgreSQL and, where it is installed, MariaDB with the examples' tables, until Ctrl-C.

They are the throwaway servers of Headrace's own tests, at the ports that the examples' pipelines name.
"""

import shlex
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

EXAMPLES = Path(__file__).parent
sys.path.insert(0, str(EXAMPLES.parent / "tests" / "support"))

import mariadb_server  # noqa: E402 - its folder was put on the path above
import postgres_server  # noqa: E402 - the same
import psycopg  # noqa: E402 - beside the two

POSTGRES_PORT, MYSQL_PORT = 5440, 3310


def start_postgres(servers: ExitStack) -> None:
    """Start PostgreSQL with a database `shop`."""
    server = servers.enter_context(postgres_server.run_postgres(port=POSTGRES_PORT))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    with psycopg.connect(server.url("shop"), autocommit=True) as connection:
        connection.execute((EXAMPLES / "postgres_to_partitioned_parquet" / "seed.sql").read_text())
    print(f"export PIPELINE_SHOP_PASSWORD={shlex.quote(postgres_server.PASSWORD)}", flush=True)


def start_mariadb(servers: ExitStack) -> None:
    """Start MariaDB with a database `shop`."""
    server = servers.enter_context(mariadb_server.run_mariadb(port=MYSQL_PORT))
    with server.connection() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("USE shop")
        for statement in (EXAMPLES / "mysql_to_duckdb" / "seed.sql").read_text().split(";\n"):
            if statement.strip():
                cursor.execute(statement)
    print(f"export PIPELINE_MYSQL_PASSWORD={shlex.quote(mariadb_server.PASSWORD)}", flush=True)


def main() -> None:
    """Start what there is, and wait."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as servers, suppress(KeyboardInterrupt):
        start_postgres(servers)
        if mariadb_server.is_installed():
            start_mariadb(servers)
        else:
            print(f"# {mariadb_server.MISSING}", flush=True)
        print("# Ctrl-C stops the databases and removes them.", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
