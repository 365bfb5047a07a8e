"""One reader of JSON text: what is read is exact, and what is refused says why and where."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from corpora import CORPORA
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kit.arrow.json_text import (
    DEEPEST,
    InvalidJSON,
    JsonRecords,
    NotJSON,
    decoded,
    decoded_around,
    decoded_lines,
    in_utf8,
)

CORPUS = CORPORA / "json"
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(100))
@given(value=_VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_a_text_is_what_another_reader_makes_of_it(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    assert repr(decoded(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":"x\\ud83d"}', {"a": "x\ufffd"}),
        (b'{"a":"\\udc09\\ud83d"}', {"a": "\ufffd\ufffd"}),
        (b'{"\\ud83d":1}', {"\ufffd": 1}),
        (b'["\\ud83d\\udc09", "\\\\ud83d", "\\ud83d"]', ["\U0001f409", "\\ud83d", "\ufffd"]),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1e400", Decimal("1e400")),
        (b"-1e400", Decimal("-1e400")),
        (b"9" * 5000, Decimal("9" * 5000)),
        (b"[18446744073709551616, -9223372036854775809]", [2**64, -(2**63) - 1]),
    ],
)
def test_what_servers_write_beyond_the_common_is_read_exactly(text: bytes, value: Any) -> None:
    assert decoded(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[NaN]", "NaN is not a JSON value"),
        (b"[-Infinity]", "-Infinity is not a JSON value"),
        (b"[1] x", "something follows its end, at line 1, column 5"),
        (b'{"a":1', "it ends in the middle of a value"),
        (b'{"a":"x', "it ends in the middle of a text"),
        (b" \n", "it is empty"),
        (b'\n{"a":1,}', "its syntax is wrong at line 2, column 8"),
        (b'["\xe9"]', "the text is not UTF-8 (at byte 3)"),
        (b"[" * 100_000, "nested deeper than 500 levels"),
        (b"[" * 501 + b"]" * 501, "nested deeper than 500 levels"),
        (b'{"]\\"":' * 501 + b"1" + b"}" * 501, "nested deeper than 500 levels"),
    ],
)
def test_a_refusal_says_why_and_where(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidJSON) as refused:
        decoded(text)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * DEEPEST + b"]" * DEEPEST,
        b'{"[\\"[":' * DEEPEST + b"1" + b"}" * DEEPEST,
        json.dumps([["[[[{", {"a": "}"}]] * 2000).encode(),
        json.dumps(["[" * 2000]).encode(),
    ],
)
def test_what_only_looks_deep_is_read(text: bytes) -> None:
    assert decoded(text) == json.loads(text)


def test_lines_are_read_one_by_one_and_refused_by_their_number() -> None:
    assert decoded_lines(b'{"a":1}\r\n\n{"a":"\\ud83d"}') == [{"a": 1}, {"a": "\ufffd"}]
    for broken in (b'{"a":1}\n\n{"a":NaN}\n', b"{}\n\n1 2\n", b'{}\n\n{"a":\n1}'):
        with pytest.raises(InvalidJSON, match=r"line 12: "):
            decoded_lines(broken, first=10)


def test_lines_that_stay_text_are_the_same_records() -> None:
    lines = b'{"a":1}\n\n{"a":"\\ud83d"}\n{"a":123456789012345678901234567890}\n7\n'

    records = JsonRecords.of_lines(lines)

    assert list(records) == [{"a": 1}, {"a": "\ufffd"}, {"a": 123456789012345678901234567890}, {"value": 7}]
    with pytest.raises(InvalidJSON, match="line 2: NaN"):
        JsonRecords.of_lines(b"{}\nNaN\n")


def test_a_record_that_is_not_json_is_named_by_its_place() -> None:
    first = JsonRecords.of(b"[{},{}]", lambda index: f"a:{index}")
    second = JsonRecords.of(b'[{},{"a":"\xff"}]', lambda index: f"b:{index}")

    with pytest.raises(NotJSON, match=r"^b:1 is not JSON"):
        list(JsonRecords.joined([first, second]))


def test_a_list_inside_a_document_stays_text() -> None:
    document = decoded_around(b'{"data":[1,2],"next":"n","big":1e400}', "data")

    assert isinstance(document["data"], JsonRecords)
    assert (list(document["data"]), document["next"]) == ([{"value": 1}, {"value": 2}], "n")
    assert document["big"] == Decimal("1e400")


@pytest.mark.parametrize(
    ("text", "charset", "value"),
    [
        ("José".encode("latin-1"), "iso-8859-1", "José"),
        ("“José”".encode("cp1252"), "windows-1252", "“José”"),
        ("José".encode(), "iso-8859-1", "José"),  # RFC 8259: UTF-8, whatever the header says
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
        ("日本".encode("iso-2022-jp"), "ISO-2022-JP", "日本"),
        ("José".encode("utf-16-le"), "utf-16le", "José"),
        ("José".encode("utf-16"), None, "José"),
        ("José".encode("utf-32"), None, "José"),
        ("José".encode("utf-8-sig"), None, "José"),
        ("José".encode(), "utf8mb4", "José"),
    ],
)
def test_a_text_is_read_in_its_charset(text: bytes, charset: str | None, value: str) -> None:
    assert in_utf8(text, charset) == value.encode()


@pytest.mark.parametrize(
    ("text", "charset", "reason"),
    [
        (b"\xe9", None, "the text is not UTF-8"),
        (b"\xe9", "utf-8", "the text is not UTF-8"),
        (b"\xe9", "us-ascii", "the text is not UTF-8"),
        (b"\x81\xff", "shift_jis", "neither UTF-8 nor shift_jis"),
        (b"\xff\xfe\x00\xd8", None, "neither UTF-8 nor utf-16"),
        (b"\xe9", "klingon", "'klingon' is not known"),
    ],
)
def test_a_text_of_no_known_charset_is_refused_by_it(text: bytes, charset: str | None, reason: str) -> None:
    with pytest.raises(InvalidJSON, match=reason):
        in_utf8(text, charset)


def corpus() -> list[Path]:
    return sorted(CORPUS.glob("[yni]_*.json"))


@pytest.mark.skipif(not corpus(), reason="the folder of JSONTestSuite's cases is not there")
def test_every_case_of_jsontestsuite_is_read_or_refused_as_it_says() -> None:
    for path in corpus():
        try:
            decoded(in_utf8(path.read_bytes()))
        except InvalidJSON:
            assert not path.name.startswith("y_"), f"{path.name} must be read"
        else:
            assert not path.name.startswith("n_"), f"{path.name} must be refused"
