"""Which bodies the API accepts as JSON."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_api.http.strict_json import DEEPEST, MalformedJson, control_characters, parse, pointer

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_json_that_a_library_wrote_is_read_back(document):
    assert parse(json.dumps(document).encode()) == document
    assert parse(json.dumps(document, ensure_ascii=False).encode()) == document
    assert control_characters(document) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_malformed(raw):
    with contextlib.suppress(MalformedJson):
        json.dumps(parse(raw), allow_nan=False)


def test_the_deepest_nesting_is_read_and_the_next_is_not():
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST)

    with pytest.raises(MalformedJson, match="nested"):
        parse(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, "1e309", "-1e309", "9" * 100_000])
def test_numbers_beyond_64_bits_are_refused(number):
    with pytest.raises(MalformedJson, match="too large"):
        parse(f'{{"a": [{number}]}}'.encode())


@pytest.mark.parametrize("raw", [rb'{"\ud800": 1}', rb'["\udfff"]', rb'["\ud800\ud800"]'])
def test_an_unpaired_surrogate_is_refused(raw):
    with pytest.raises(MalformedJson, match="surrogate"):
        parse(raw)


def test_a_surrogate_pair_is_one_character():
    assert parse(rb'"\ud83c\udf0a"') == "\N{WATER WAVE}"


def test_a_repeated_key_is_refused_even_if_it_is_escaped_differently():
    with pytest.raises(MalformedJson, match="twice"):
        parse(rb'{"a": {"key": 1, "k\u0065y": 2}}')


def test_errors_quote_nothing_from_the_body():
    with pytest.raises(MalformedJson) as refused:
        parse(b'{"token": "hunter2", }')

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_tabs_and_line_breaks_are_allowed_only_in_the_values_of_a_config():
    document = {"name": "a\n", "config": {"pem": "a\r\n\tb", "ke\ty": "", "bell": "\a"}, "tags": [["\n"]]}

    found = {fault.pointer for fault in control_characters(document)}

    assert found == {"/name", "/config/ke\ty", "/config/bell", "/tags/0/0"}


def test_a_pointer_escapes_slashes_and_tildes():
    assert pointer(("a/b", 0, "~")) == "/a~1b/0/~0"
