"""docs/cli.md names every command and every option, and the help texts can be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from headrace.cli import main

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(
    command: TyperCommand | TyperGroup, path: str
) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")
    if not isinstance(command, TyperGroup) or (command.invoke_without_command and path != "headrace"):
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(main.app), "headrace"))
EVERY_COMMAND = pytest.mark.parametrize("path", COMMANDS)


@EVERY_COMMAND
def test_each_command_is_documented(path: str) -> None:
    assert f"`{path}`" in DOCUMENT or f"`{path} " in DOCUMENT


@EVERY_COMMAND
def test_each_option_is_documented(path: str) -> None:
    options = [
        name for parameter in COMMANDS[path].params for name in parameter.opts if name.startswith("--")
    ]

    assert [name for name in options if name not in DOCUMENT] == []


@EVERY_COMMAND
def test_each_command_takes_a_home(path: str) -> None:
    assert "--home" in [name for parameter in COMMANDS[path].params for name in parameter.opts]


@EVERY_COMMAND
def test_each_command_and_each_option_has_a_help_text(path: str) -> None:
    texts = [getattr(parameter, "help", None) for parameter in COMMANDS[path].params]

    assert COMMANDS[path].help
    assert all(texts)


def test_each_exit_code_is_documented() -> None:
    codes = {
        main.FAILED,
        main.USAGE,
        main.NOT_FOUND,
        main.CONFLICT,
        main.DENIED,
        main.UNAVAILABLE,
        main.CONFIGURATION,
    }

    assert {code for code in codes if f"| {code} |" not in DOCUMENT} == set()
