"""A user's own PostgreSQL database, with a password that has to be quoted wherever it is written."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
from postgres_server import PostgresServer

PASSWORD = "S3cr?t/w@rd+'\"\\%:ü &=#zzz"
_ROLE = "analyst"
_ORDERS = """
CREATE TABLE orders AS
SELECT n::bigint AS id,
       CASE n % 4 WHEN 0 THEN NULL ELSE 'Kundin ' || n || ' — "Ü, \\n' END AS customer,
       (n * 1.37)::numeric(12, 2) AS total,
       n / 7.0::float8 AS ratio,
       n % 3 = 0 AS paid,
       DATE '1999-12-30' + n AS day,
       TIMESTAMPTZ '2024-01-15 10:00:00.123456Z' + n * INTERVAL '1 minute 1 microsecond' AS placed_at,
       decode(lpad(to_hex(n), 8, '0'), 'hex') AS token,
       n::smallint AS rank
FROM generate_series(1, 2500) AS n
"""


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """The database, and how pipelines reach it."""

    port: int
    database: str

    @classmethod
    def made_on(cls, server: PostgresServer) -> "Warehouse":
        """Make a database with a table `orders` of 2,500 rows that belongs to a role with a password."""
        url = server.fresh_database()
        password = PASSWORD.replace("'", "''")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD '{password}'")
            connection.execute(f"GRANT ALL ON SCHEMA public TO {_ROLE}")
            connection.execute(f"SET ROLE {_ROLE}")
            connection.execute(_ORDERS)
        return cls(port=server.port, database=url.rpartition("/")[2])

    def source(self, **changes: Any) -> dict[str, Any]:
        """Return a pipeline's source: the table `orders`, reached field by field."""
        return {"name": "postgres", "stream": "public.orders", **self._fields(), **changes}

    def destination(self, *, password: str = PASSWORD, **config: Any) -> dict[str, Any]:
        """Return a pipeline's destination in this database, reached by URL."""
        url = f"postgresql://{_ROLE}:{quote(password, safe='')}@127.0.0.1:{self.port}/{self.database}"
        return {"name": "postgres", "config": {"url": url, **config}}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows by id."""
        with psycopg.connect(**self._connection(), row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()

    def _fields(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "database": self.database, "user": _ROLE,
                "password": PASSWORD}  # fmt: skip

    def _connection(self) -> dict[str, Any]:
        fields = self._fields()
        fields["dbname"] = fields.pop("database")
        return fields
