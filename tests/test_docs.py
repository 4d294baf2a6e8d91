"""The README says what the program does, and the program knows what the README says."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from places import ROOT

from clipcli.cli.app import app

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def _commands() -> dict[str, Any]:
    """Commands by name, those of a group behind its name."""
    commands = dict(COMMANDS.commands)  # type: ignore[attr-defined]
    for name, command in list(commands.items()):
        for below, one in getattr(command, "commands", {}).items():
            commands[f"{name} {below}"] = one
    return commands


def _options(command: Any) -> set[str]:
    """What may be typed, the negative forms too."""
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def _readme_lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [
        part[part.index("clipcli ") :]
        for block in blocks
        for line in block.splitlines()
        for part in re.split(r"&&|\|", line)
        if "clipcli " in part and "pip install" not in part
    ]


def test_the_readme_shows_every_command() -> None:
    shown = " ".join(_readme_lines())
    assert [name for name in _commands() if f"clipcli {name}" not in shown] == []


@pytest.mark.parametrize("line", _readme_lines())
def test_every_option_in_the_readme_exists(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    name = words[0]
    if f"{name} {' '.join(words[1:2])}" in _commands():
        name = f"{name} {words[1]}"
    known = _options(_commands()[name])
    assert {word for word in words if re.match(r"--?[a-z0]", word)} <= known


@pytest.mark.parametrize("name", sorted(_commands()))
def test_help_has_a_sentence_and_an_example(name: str) -> None:
    text = _commands()[name].help
    assert f"Example: clipcli {name}" in text


def test_every_option_stands_in_the_readme() -> None:
    missing = {
        option
        for command in _commands().values()
        for parameter in command.params
        if not any(option in README for option in (*parameter.opts, *parameter.secondary_opts))
        for option in parameter.opts
    }
    assert missing <= {"--help"}
