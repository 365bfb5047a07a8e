"""Which internals of Dagster the code uses, and which docs/dagster-internals.md lists."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ROOT / "dagster_defs" / "headrace_dagster"
PRIVATE = CODE / "private"
PAGE = ROOT / "docs" / "dagster-internals.md"

INTERNAL = re.compile(r"dagster\._[\w.]+|dagster_(?:graphql|shared|webserver)\b[\w.]*")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of one of the page's tables."""

    names: frozenset[str]
    used_by: frozenset[str]
    tripwires: frozenset[str]


def used() -> dict[str, set[str]]:
    """Return each internal with the modules of `private` that use it."""
    found: dict[str, set[str]] = {}
    for file in PRIVATE.glob("*.py"):
        for name in _names(ast.parse(file.read_text())):
            found.setdefault(name, set()).add(file.stem)
    return found


def listed() -> list[Row]:
    """Return the rows of the page's tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [line.strip("|").split("|") for line in lines if not line.endswith("| Tripwire |")]
    return [Row(names=_quoted(row[0]), used_by=_quoted(row[1]), tripwires=_quoted(row[-1])) for row in rows]


def named_outside() -> list[str]:
    """Return where our code outside `private` names an internal, in an import or in any other string."""
    return [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in CODE.rglob("*.py")
        if PRIVATE not in file.parents
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Constant)
        and any(INTERNAL.fullmatch(text) for text in _texts(node))
    ]


def _quoted(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`([^`]+)`", cell))


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield what a module uses: names it imports, attributes of modules it imports, modules it names."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and INTERNAL.fullmatch(node.module or ""):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if _is_module(name):
                    modules[alias.asname or alias.name] = name
                else:
                    yield name
        elif isinstance(node, ast.Constant | ast.Import):
            yield from (text for text in _texts(node) if INTERNAL.fullmatch(text))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield f"{modules[node.value.id]}.{node.attr}"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
