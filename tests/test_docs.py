"""The README says what the program does, and the program knows what the README says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from clipcli.cli.app import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def _commands() -> dict[str, object]:
    commands = dict(COMMANDS.commands)  # type: ignore[attr-defined]
    models = commands["models"]
    return commands | {f"models {name}": one for name, one in models.commands.items()}


def _options(command: object) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}  # type: ignore[attr-defined]


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
    assert all(f"clipcli {name}" in shown for name in _commands())


@pytest.mark.parametrize("line", _readme_lines())
def test_every_option_in_the_readme_exists(line: str) -> None:
    words = shlex.split(line)[1:]
    name = words[0]
    if name == "models" and len(words) > 1:
        name = f"models {words[1]}"
    known = _options(_commands()[name])
    assert {word for word in words if re.match(r"--?[a-z0]", word)} <= known


@pytest.mark.parametrize("name", sorted(_commands()))
def test_help_has_a_sentence_and_an_example(name: str) -> None:
    text = _commands()[name].help  # type: ignore[attr-defined]
    assert f"Example: clipcli {name}" in text


def test_every_option_stands_in_the_readme() -> None:
    missing = {
        option
        for command in _commands().values()
        for option in _options(command)
        if option.startswith("--") and option not in README
    }
    assert missing <= {"--help", "--null", "--recursive", "--output"}
