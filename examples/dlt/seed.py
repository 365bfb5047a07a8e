"""Make the database that dlt reads: `python3 seed.py [FILE]`. Each further call adds two products."""

import sqlite3
import sys
from contextlib import closing

SCRIPT = """
CREATE TABLE IF NOT EXISTS products (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, price NUMERIC(10, 2) NOT NULL
);
INSERT INTO products (name, price) VALUES ('Kettle', 39.90), ('Teapot', 24.50);
"""

if __name__ == "__main__":
    with closing(sqlite3.connect(sys.argv[1] if len(sys.argv) > 1 else "/tmp/products.sqlite")) as connection:
        connection.executescript(SCRIPT)
