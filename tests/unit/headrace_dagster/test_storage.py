from pathlib import Path

from psycopg2.extensions import parse_dsn
from pydantic import SecretStr
from sqlalchemy import make_url

from headrace.settings import Settings
from headrace_dagster.storage import postgres_url


def test_dagsters_connections_have_bounds_on_every_wait(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:p%40ss@db:5433/records?sslmode=require"

    made = make_url(postgres_url(Settings(home=tmp_path, database_url=SecretStr(url))))

    assert (made.drivername, made.host, made.password) == ("postgresql+psycopg2", "db", "p@ss")
    assert made.query["sslmode"] == "require"
    dsn = parse_dsn(made.set(drivername="postgresql").render_as_string(hide_password=False))
    assert {name: int(dsn[name]) for name in ("connect_timeout", "keepalives_idle", "tcp_user_timeout")} == {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "tcp_user_timeout": 15_000,
    }
    for setting in ("search_path=dagster", "statement_timeout=", "idle_in_transaction_session_timeout="):
        assert f"-c{setting}" in dsn["options"]
