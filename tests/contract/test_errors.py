"""Every error of the platform has a code of its own, and docs/errors.md lists it."""

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest
from error_catalogue import PACKAGES, PAGE, error_classes, page

from headrace.errors import HeadraceError

ERRORS = error_classes()


def name_of(error: type[HeadraceError]) -> str:
    return f"{error.__module__}.{error.__name__}"


def test_no_two_errors_share_a_code():
    codes = Counter(error.code for error in ERRORS)

    assert [code for code, count in codes.items() if count > 1] == []


@pytest.mark.parametrize("error", ERRORS, ids=name_of)
def test_an_error_has_a_code_a_title_and_a_docstring_of_its_own(error: type[HeadraceError]):
    own = vars(error)

    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?", own.get("code", ""))
    assert error.title != HeadraceError.title or error is HeadraceError
    assert not error.title.endswith(".")
    assert own.get("__doc__", "").strip()


@pytest.mark.parametrize("error", ERRORS, ids=name_of)
def test_a_hint_is_a_sentence(error: type[HeadraceError]):
    assert error.hint == "" or error.hint.endswith(".")


def test_the_page_lists_every_error_and_no_other():
    assert PAGE.read_text() == page(), "write it anew with `python tests/support/error_catalogue.py`"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_lists_every_code_that_the_source_spells(package: str):
    folder = Path(importlib.import_module(package).__path__[0])
    source = "".join(file.read_text() for file in folder.rglob("*.py"))

    spelled = set(re.findall(r'"((?:run|field|query|config|pipeline)\.[a-z_]+)"', source))

    assert {code for code in spelled if f"`{code}`" not in PAGE.read_text()} == set()
