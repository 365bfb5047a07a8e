"""Connectors of one's own: the `*.py` files of one folder, each read again once it has changed.

These files are code of the installation, as its packages are: whoever may write into the folder may do what
Headrace may. A file that defines a connector is imported wherever configurations are checked, the REST
service included; one that defines functions only, for the `python` source, in workers only.
"""

import ast
import logging
import sys
import traceback
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import TypeVar

from headrace.connectors import Connector
from headrace.errors import Invalid

K = TypeVar("K", bound=Connector)
_NOT_CONNECTORS = ("_", "test_", "conftest")
_LOG = logging.getLogger(__name__)


class BrokenFile(Invalid):
    """A file of the connectors folder cannot be imported."""

    code = "connector.broken_file"
    title = "Connector's file is broken"
    hint = "Correct the file: it is read again by itself."


class LocalFolder:
    """One folder's files. Safe for threads; a folder that is missing has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, _File] = {}
        self._lock = RLock()

    def find(self, name: str, base: type[K]) -> type[K] | None:
        """Return the connector of that name and kind; None where no file has one. Raises BrokenFile."""
        with self._lock:
            for file in self._current():
                if name in file.names:
                    found = file.connector(name, base)
                    if found is not None:
                        return found
        return None

    def names(self, base: type[Connector]) -> set[str]:
        """Return the names of the connectors of a kind; what is wrong with a broken file is logged."""
        found = set()
        with self._lock:
            for file in self._current():
                try:
                    found |= {name for name in file.names if file.connector(name, base)}
                except BrokenFile as error:
                    _LOG.warning("%s", error.detail)
        return found

    def module(self, name: str) -> ModuleType | None:
        """Import the file of that name without its ending; None where there is none. Raises BrokenFile."""
        with self._lock:
            return next((file.module for file in self._current() if file.path.stem == name), None)

    def _current(self) -> list["_File"]:
        """The files as they are now, by name."""
        files = {}
        for path in sorted(self.path.glob("*.py")):
            if path.stem.isidentifier() and not path.stem.startswith(_NOT_CONNECTORS):
                known, stamp = self._files.get(path.stem), _stamp(path)
                files[path.stem] = known if known and known.stamp == stamp else _File(path, stamp)
        self._files = files
        return list(files.values())


class _File:
    """One version of one file."""

    def __init__(self, path: Path, stamp: tuple[int, int]) -> None:
        self.path = path
        self.stamp = stamp

    @cached_property
    def names(self) -> frozenset[str]:
        """The connectors' names, read from the text; those of a file that is no Python are its own name."""
        try:
            tree = ast.parse(self.path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return frozenset({self.path.stem})
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        return frozenset(name for one in classes for name in map(_name, one.body) if name is not None)

    def connector(self, name: str, base: type[K]) -> type[K] | None:
        """Return the class of that name and kind, if there is one. Raises BrokenFile."""
        own = (each for each in vars(self.module).values() if isinstance(each, type))
        for found in own:
            is_here = found.__module__ == self._module_name and issubclass(found, base)
            if is_here and getattr(found, "name", None) == name:
                return found
        return None

    @property
    def module(self) -> ModuleType:
        """The file, imported once. Raises BrokenFile."""
        if isinstance(self._imported, BrokenFile):
            raise self._imported
        return self._imported

    @property
    def _module_name(self) -> str:
        return f"headrace_local_{self.path.stem}"

    @cached_property
    def _imported(self) -> ModuleType | BrokenFile:
        loader = _Loader(self._module_name, str(self.path))
        spec = spec_from_file_location(self._module_name, self.path, loader=loader)
        assert spec is not None, "a loader was given"
        module = module_from_spec(spec)
        # Pydantic looks the module of a class up here, for the names in its annotations.
        sys.modules[self._module_name] = module
        try:
            loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[self._module_name]
            return BrokenFile(f"{self.path.name}{self._line(error)}: {type(error).__name__}: {error}"[:500])
        return module

    def _line(self, error: BaseException) -> str:
        """Where in the file it went wrong."""
        if isinstance(error, SyntaxError):
            return f", line {error.lineno}"
        lines = [
            at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(self.path)
        ]
        return f", line {lines[-1]}" if lines else ""


class _Loader(SourceFileLoader):
    """Compiles the text as it is: byte code tells versions apart by the second only."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


_folder = LocalFolder(Path("connectors"))


def use(path: Path) -> None:
    """Take this process's own connectors from a folder, which need not exist."""
    global _folder
    if _folder.path != path:
        _folder = LocalFolder(path)


def folder() -> LocalFolder:
    """Return this process's folder."""
    return _folder


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _name(statement: ast.stmt) -> str | None:
    """The text that a class gives its attribute `name`, if this statement does."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return None
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    is_name = any(isinstance(target, ast.Name) and target.id == "name" for target in targets)
    value = statement.value.value if isinstance(statement.value, ast.Constant) else None
    return value if is_name and isinstance(value, str) else None
