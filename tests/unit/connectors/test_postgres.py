"""The connectors `postgres` without a server: what configurations say."""

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from headrace.connectors.postgres.connector import PostgresDestination, PostgresSource
from headrace.connectors.postgres.projection import numeric_type
from headrace.errors import Invalid
from headrace.pipeline.document import parse_config
from headrace.pipeline.secrets import mask_secrets, restore_secrets


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"host": "h"},
        {"database": "d"},
        {"url": "postgresql://h/d", "host": "h", "database": "d"},
        {"host": "h", "database": "d", "port": 0},
        {"host": "h", "database": "d", "sslmode": "maybe"},
        {"host": "h", "database": "d", "unknown": 1},
    ],
)
def test_a_connection_that_is_incomplete_or_said_twice_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PostgresSource(**config)


def test_fields_reach_libpq_as_they_are() -> None:
    config = PostgresSource(host="h", database="a b", user="u'", password="p\\ '=x", sslmode="require")

    conninfo = config.conninfo()

    assert r"password='p\\ \'=x'" in conninfo
    assert "dbname='a b'" in conninfo
    assert "sslmode=require" in conninfo
    assert "passfile=/dev/null" in conninfo


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/d", {"host": "h", "dbname": "d"}),
        ("postgres://u:p?w@h/d", {"host": "h", "user": "u", "password": "p?w", "dbname": "d"}),
        ("postgresql://h/d?user=a%40b&sslmode=require", {"user": "a@b", "sslmode": "require"}),
        ("host=h dbname='a b' password='x y'", {"host": "h", "dbname": "a b", "password": "x y"}),
    ],
)
def test_a_url_of_either_form_keeps_what_it_says_and_gains_what_is_fixed(
    url: str, expected: dict[str, str]
) -> None:
    understood = conninfo_to_dict(PostgresSource(url=url, password="p'\\ &=?w").conninfo())

    assert understood["passfile"] == "/dev/null"
    assert understood["application_name"] == "headrace"
    assert understood["password"] == "p'\\ &=?w"
    assert understood.items() >= {**expected, "password": "p'\\ &=?w"}.items()


def test_what_a_url_says_beside_the_fixed_values_is_not_changed() -> None:
    understood = conninfo_to_dict(PostgresSource(url="postgresql://u:p?w@h/d").conninfo())

    assert (understood["password"], understood["dbname"]) == ("p?w", "d")
    assert "port" not in understood


@pytest.mark.parametrize("text", ["decimal(39,0)", "decimal(0,0)", "decimal", "double", "decimal(5,2) "])
def test_only_a_decimal_that_exists_can_be_declared(text: str) -> None:
    with pytest.raises(ValidationError):
        PostgresSource(url="postgresql://h/d", unbounded_numeric=text)


@pytest.mark.parametrize(
    ("typmod", "size"),
    [(-1, None), (655366, (10, 2)), ((5 << 16 | (-2 & 0x7FF)) + 4, (5, -2)), (65540, (1, 0))],
)
def test_precision_and_scale_come_from_the_typmod(typmod: int, size: tuple[int, int] | None) -> None:
    assert numeric_type(typmod) == size


def test_secrets_are_masked_and_not_sent_to_another_host() -> None:
    source = {"name": "postgres", "stream": "public.t", "host": "h", "database": "d", "password": "hunter2"}
    url = {"name": "postgres", "config": {"url": "postgresql://u:hunter2@h/d", "schema": "raw"}}
    raw: dict[str, Any] = {"name": "p", "source": source, "destination": url}

    masked = mask_secrets(raw)
    elsewhere = {**masked, "source": {**masked["source"], "host": "evil"}}

    assert "hunter2" not in repr(masked)
    assert restore_secrets(masked, raw).raw == raw
    destination = parse_config(raw).destination
    assert isinstance(destination, PostgresDestination)
    assert destination.schema_name == "raw"
    with pytest.raises(Invalid):
        restore_secrets(elsewhere, raw)
