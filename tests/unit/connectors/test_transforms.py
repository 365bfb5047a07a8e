"""What is accepted as a transform, and what is said of what is not: the place, never the value."""

from typing import Any

import pytest

from headrace.pipeline.document import parse_config
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.secrets import mask_secrets, secret_values
from headrace.pipeline.transforms import MODULES

SALT = "a salt of the company's own"


def pipeline(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "x",
        "source": {"name": "dummy", "stream": "plants"},
        "destination": {"name": "logger"},
        "transforms": list(transforms),
    }


def fault(**step: Any) -> tuple[str, str, str]:
    """The only fault of a pipeline whose second transform is this one."""
    with pytest.raises(InvalidConfig) as caught:
        parse_config(pipeline({"label": "first", "python": "pass"}, {"label": "second"} | step))
    [error] = caught.value.errors
    return error.pointer, error.code.removeprefix("config."), error.detail


@pytest.mark.parametrize(
    "step",
    [
        {"python": "data['name'] = data['name'].upper()"},
        {"python": "import re\nfrom datetime import date\nfrom collections.abc import Mapping\ndata = None"},
        {"python": "def f(x):\n    return x\ndata = f(data)"},
        {"sql": "SELECT *, size * 2 AS twice FROM data -- the batch"},
        {"sql": "WITH big AS (FROM data WHERE size > 1) SELECT * FROM big;"},
        {"columns": {"select": ["a"], "rename": {"a": "b"}, "cast": {"a": "decimal128(38, 9)"}}},
        {"columns": {"exclude": ["a"], "hash": {"columns": ["b"], "salt": SALT}}},
        {"columns": {"cast": {"a": "timestamp[us, UTC]", "b": "date32", "c": "string"}}},
    ],
)
def test_a_step_of_each_kind_is_accepted(step):
    [transform] = parse_config(pipeline({"label": "it", **step})).transforms

    assert transform.label == "it"


@pytest.mark.parametrize(
    ("code", "kind", "detail"),
    [
        ("x = 1\ndata[ = 's3cret'", "python_syntax", "Line 2: invalid syntax."),
        ("return data", "python_syntax", "Line 1: 'return' outside function."),
        ("x = '\0s3cret'", "python_syntax", "Line 1: source code string cannot contain null bytes."),
        ("import os", "python_import", "Line 1: os cannot be imported here."),
        ("pass\nimport json, subprocess as s3cret", "python_import", "Line 2: subprocess cannot be imported"),
        ("from . import x", "python_import", "Line 1: . cannot be imported here."),
        ("from os.path import join", "python_import", "Line 1: os.path cannot be imported here."),
        ("def f():\n  import socket", "python_import", "Line 2: socket cannot be imported here."),
        ("data.__class__", "python_private", "Line 1: __class__ cannot be used here."),
    ],
)
def test_python_that_cannot_run_is_told_with_its_line(code, kind, detail):
    pointer, found, text = fault(python=code)

    assert (pointer, found) == ("/transforms/1/python", kind)
    assert text.startswith(detail)
    assert "s3cret" not in text


def test_python_that_nests_too_deep_is_told():
    assert fault(python="(" * 5000 + ")" * 5000)[1] == "python_syntax"


@pytest.mark.parametrize(
    ("query", "kind", "detail"),
    [
        ("SELECT *\nFROM data WHERE name == = 's3cret'", "sql_syntax", "Line 2: DuckDB cannot parse this."),
        ("DROP TABLE data", "sql_not_a_query", "Give one SELECT, which reads from `data`."),
        ("SELECT 1; SELECT 2", "sql_not_a_query", "Give one SELECT, which reads from `data`."),
        ("COPY data TO '/tmp/s3cret'", "sql_not_a_query", "Give one SELECT, which reads from `data`."),
        ("SET threads = 8", "sql_not_a_query", "Give one SELECT, which reads from `data`."),
        ("-- nothing", "sql_not_a_query", "Give one SELECT, which reads from `data`."),
    ],
)
def test_sql_that_is_no_query_is_told_with_its_line(query, kind, detail):
    assert fault(sql=query) == ("/transforms/1/sql", kind, detail)


@pytest.mark.parametrize(
    ("columns", "place", "kind"),
    [
        ({"select": ["a"], "exclude": ["b"]}, "", "contradiction"),
        ({"rename": {"a": "c", "b": "c"}}, "", "contradiction"),
        ({"cast": {"a": "string"}, "hash": {"columns": ["a"], "salt": SALT}}, "", "contradiction"),
        ({"select": []}, "/select", "too_short"),
        ({"cast": {"a": "integer"}}, "/cast/a", "string_pattern_mismatch"),
        ({"cast": {"a": "decimal128(39, 2)"}}, "/cast", "decimal"),
        ({"cast": {"a": "decimal128(5, 6)"}}, "/cast", "decimal"),
        ({"hash": {"columns": ["a"]}}, "/hash/salt", "missing"),
        ({"hash": {"columns": ["a"], "salt": "short"}}, "/hash/salt", "too_short"),
        ({"drop": ["a"]}, "/drop", "extra_forbidden"),
    ],
)
def test_columns_that_contradict_each_other_are_told(columns, place, kind):
    assert fault(columns=columns)[:2] == (f"/transforms/1/columns{place}", kind)


@pytest.mark.parametrize("step", [{}, {"python": "pass", "sql": "SELECT 1"}])
def test_a_step_is_of_one_kind(step):
    assert fault(**step)[:2] == ("/transforms/1", "one_kind")


def test_the_salt_is_a_secret():
    raw = pipeline({"label": "it", "columns": {"hash": {"columns": ["email"], "salt": SALT}}})

    assert secret_values(parse_config(raw)) == (SALT,)
    assert SALT not in str(mask_secrets(raw))
    assert SALT not in repr(parse_config(raw))


def test_what_may_be_imported_can_be_imported():
    for name in MODULES:
        __import__(name)
