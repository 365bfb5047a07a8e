"""The tables that are read: 16 columns of the usual types, 181 bytes a row on PostgreSQL's disk."""

import psycopg

STREAM, ONE_ROW_STREAM = "public.origin", "public.one_row"
_ROWS = """
SELECT
    g::bigint AS id, (g % 1000)::int AS account, (g % 7)::smallint AS kind, g % 2 = 0 AS active,
    (g * 1.01)::numeric(12, 2) AS amount, random() AS score, (random() * 100)::real AS ratio,
    md5(g::text) AS token, 'name ' || g AS name, (ARRAY['open', 'closed', 'lost'])[1 + g % 3] AS status,
    CASE WHEN g % 5 = 0 THEN NULL ELSE repeat('x', (g % 40)::int) END AS note,
    date '2020-01-01' + (g % 1500)::int AS born, timestamp '2020-01-01' + g * interval '1 second' AS made,
    timestamptz '2020-01-01' + g * interval '1 second' AS changed,
    gen_random_uuid() AS key, jsonb_build_object('a', g, 'b', 'text') AS extra
FROM generate_series(1::bigint, {rows}) g
"""


def fill(url: str, rows: int) -> str:
    """Make the tables in a database, and return the large one's size for people."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE origin AS {_ROWS.format(rows=rows)}")
        connection.execute(f"CREATE TABLE one_row AS {_ROWS.format(rows=1)}")
        # What autovacuum would do soon after: no reader pays for the first look at each row.
        connection.execute("VACUUM (ANALYZE) origin")
        found = connection.execute("SELECT pg_size_pretty(pg_table_size('origin'))").fetchone()
    return str(found[0]) if found else ""


def count(url: str, table: str) -> int:
    """Return a table's rows."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0
