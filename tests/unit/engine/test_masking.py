"""A secret leaves a text in whatever form it stands there."""

import base64
import json
import logging
from urllib.parse import quote

import pytest

from headrace.masking import MASK, MaskingFilter

SECRET = 'p@ss "w\u00f6rd"/+\\1'


def masked(text: str, *secrets: str) -> str:
    return MaskingFilter(secrets or (SECRET,)).mask(text)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        quote(SECRET),
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
    ],
)
def test_a_secret_is_masked_as_programs_print_it(form):
    assert masked(f"failed with {form} today") == f"failed with {MASK} today"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_masked_inside_base64_whatever_stands_before_it(before, encode):
    secret = "correct-horse-battery"

    text = encode(f"{before}{secret} and after".encode()).decode()

    start, mask, _ = masked(text, secret).partition(MASK)
    assert mask
    # At most the digit that it shares with its neighbour is left of the secret.
    assert len(start) <= len(before) * 8 // 6 + 1


def test_the_longest_secret_is_masked_first():
    assert masked("token-and-tail", "token", "token-and-tail") == MASK


def test_the_password_of_a_url_is_masked_on_its_own():
    assert masked("password authentication failed: s%3Acret or s:cret", "postgres://me:s%3Acret@db/x") == (
        f"password authentication failed: {MASK} or {MASK}"
    )


def test_the_private_key_inside_a_key_file_is_masked_on_its_own():
    key_file = json.dumps({"type": "service_account", "private_key": "MIIEvQIBADANBgkqhkiG9w0BAQ"})

    assert masked("key MIIEvQIBADANBgkqhkiG9w0BAQ is wrong", key_file) == f"key {MASK} is wrong"


def test_a_short_secret_does_not_blot_out_the_words_that_hold_it():
    assert masked("abc abcdef", "abc") == f"{MASK} abcdef"


def test_nothing_is_masked_for_an_empty_secret():
    assert masked("all is well", "") == "all is well"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://me:pw@db/x", f"postgres://{MASK}@db/x"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {MASK}"),
        ("ghp_" + "a" * 36, MASK),
        ("pat-eu1-0c1d2e3f-1111-2222-3333-444455556666", MASK),
        ("AKIA" + "A" * 16, MASK),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ", MASK),
    ],
)
def test_the_shapes_of_well_known_tokens_are_masked(text, expected):
    assert masked(text) == expected


def test_a_log_record_is_masked_with_its_arguments_and_loses_its_traceback():
    record = logging.LogRecord(
        "x", logging.ERROR, "x.py", 1, "got %s", (SECRET,), (ValueError, ValueError(SECRET), None)
    )

    assert MaskingFilter([SECRET]).filter(record)
    assert record.getMessage() == f"got {MASK}"
    assert logging.Formatter().format(record) == f"got {MASK}"
