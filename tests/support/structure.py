"""Prints the structure of the code in figures: `make structure`. Exits with 1 where a bound is broken.

Modules, packages and the imports between them, circles, modules over 300 lines with their reasons, and the
lengths of functions.
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGES = {"headrace": "platform", "headrace_api": "api", "headrace_dagster": "dagster_defs"}
LONGEST_MODULE, MOST_MODULES = 300, 22
LONG_FUNCTION, MEDIAN_FUNCTION = 20, 7  # lines: at most this at the 90th percentile, and in the median
REASONS: dict[str, str] = {"headrace.store.schema": "the declarations of the tables, and no code"}
"""Modules that are longer than the bound, each with its reason."""


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of every module."""
    for package, shelf in PACKAGES.items():
        for path in sorted((ROOT / shelf / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT / shelf).with_suffix("").parts), path


def function_lengths() -> list[int]:
    """Return how many lines each function's body has, without its docstring."""
    lengths = []
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lengths.append((body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0)
    return lengths


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Return modules that import each other in a loop; none where the imports point one way."""
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def package_imports(graph: grimp.ImportGraph, within: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the rooms directly below a package, its own door among them, and their imports."""
    depth = within.count(".") + 2

    def room(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    inside = {module for module in graph.modules if f"{module}.".startswith(f"{within}.")}
    edges = {
        (room(module), room(imported))
        for module in inside
        for imported in graph.find_modules_directly_imported_by(module) & inside
        if room(module) != room(imported)
    }
    return {room(module) for module in inside}, edges


def main() -> int:
    """Print the figures; return 1 where one is out of bounds."""
    for shelf in PACKAGES.values():
        sys.path.insert(0, str(ROOT / shelf))
    graph = grimp.build_graph(*PACKAGES)
    sizes = {name: len(path.read_text().splitlines()) for name, path in modules()}
    long = {name: lines for name, lines in sizes.items() if lines > LONGEST_MODULE}
    folders: dict[Path, int] = {}
    for _, path in modules():
        folders[path.parent] = folders.get(path.parent, 0) + 1
    crowded = {folder: count for folder, count in folders.items() if count > MOST_MODULES}
    lengths = sorted(function_lengths())
    median, tenth = statistics.median(lengths), lengths[len(lengths) * 9 // 10]
    loop = circle(graph)
    rooms, edges = package_imports(graph, "headrace.connectors")
    packages = {name for name in rooms if graph.find_children(name)}

    print(f"{len(sizes)} modules, {sum(sizes.values()):,} lines; {1 if loop else 0} circles")
    singles = len(rooms) - len(packages)
    print(f"connectors: {len(packages)} packages, {singles} modules, {len(edges)} imports between them")
    print(f"functions: {len(lengths):,}; median {median:g} lines, 90th percentile {tenth}")
    print(f"modules over {LONGEST_MODULE} lines: {len(long)}")
    for name, lines in sorted(long.items()):
        print(f"  {name}: {lines} ({REASONS.get(name, 'NO REASON GIVEN')})")
    if loop:
        print(f"  circle: {' -> '.join(loop)}")
    for folder, count in crowded.items():
        print(f"  {folder.relative_to(ROOT)}: {count} modules in one folder")
    within = not loop and not crowded and not long.keys() - REASONS.keys()
    return 0 if within and median <= MEDIAN_FUNCTION and tenth <= LONG_FUNCTION else 1


if __name__ == "__main__":
    sys.exit(main())
