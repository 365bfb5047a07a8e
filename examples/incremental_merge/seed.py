"""Make the app's database, or change it: `python3 seed.py [FILE]`, then `python3 seed.py [FILE] --change`."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

SEED = """
DROP TABLE IF EXISTS customers;
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, plan TEXT, updated_at TEXT NOT NULL);
INSERT INTO customers VALUES
    (1, 'Ada', 'free', '2026-10-01T08:00:00Z'),
    (2, 'Grace', 'team', '2026-10-02T08:00:00Z'),
    (3, 'Alan', 'free', '2026-10-03T08:00:00Z');
"""
CHANGE = """
UPDATE customers SET plan = 'team', updated_at = '2026-10-04T08:00:00Z' WHERE id = 1;
INSERT INTO customers VALUES (4, 'Katherine', 'free', '2026-10-05T08:00:00Z');
"""


def run(file: Path, script: str) -> None:
    """Run a script on the database."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


if __name__ == "__main__":
    files = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    run(files[0] if files else Path("/tmp/app.sqlite"), CHANGE if "--change" in sys.argv else SEED)
