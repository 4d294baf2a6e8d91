"""What --help shows, of every command, in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from program import Result

from clipcli.cli.app import ORDER, app
from clipcli.cli.help import FEW_OPTIONS, FINE_POINTS, PANELS, examples

Cli = Callable[..., Result]

ROOT = typer.main.get_command(app)
WORD = r"[A-Z]+"
PLAIN_METAVAR = re.compile(rf"{WORD}([|,]{WORD})*|[a-z0-9_]+(\|[a-z0-9_]+)*|1,2,4,8")
NUMBER_OR_CHOICE = re.compile(r"N|P|[a-z0-9|]+")


def _commands(command: Any = ROOT, *typed: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield typed, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, *typed, name)


def _options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option"]


EVERY = dict(_commands())
every_command = pytest.mark.parametrize("typed", EVERY, ids=lambda typed: " ".join(typed) or "-")


@every_command
def test_help_fits_the_width(cli: Cli, typed: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = cli(*typed, "--help")
    assert (piped.code, piped.stderr) == (0, "")
    for columns in (80, 100, 120, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = cli(*typed, "-h").stdout
        lines = shown.decode("ascii").splitlines()
        assert max(map(len, lines)) <= min(columns, 120)
        assert [line for line in lines if line.endswith("-")] == []  # a name torn in two
        if columns == 80:
            assert shown == piped.stdout
    if len(EVERY[typed].params) > FEW_OPTIONS:
        assert max(map(len, lines)) > 100


@every_command
def test_every_option_stands_in_its_panel_with_its_default(
    cli: Cli, typed: tuple[str, ...], monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = cli(*typed, "--help").stdout.decode()
    panels = {}
    for part in text.split("\n\n"):
        heading, _, rows = part.partition(":\n")
        panels[heading] = re.sub(r"\n {10,}", " ", f"\n{rows}")
    has_panels = "Options" not in panels
    assert has_panels == (len(_options(EVERY[typed])) >= FEW_OPTIONS)
    assert [name for name in panels if name in PANELS] == [p for p in PANELS if p in panels]
    for option in _options(EVERY[typed]):
        name = (option.secondary_opts if option.default is True else option.opts)[0]
        assert not has_panels or option.rich_help_panel in PANELS, name
        panel = panels[option.rich_help_panel if has_panels else "Options"]
        (row,) = re.findall(rf"\n  (?:-\w, )?({name}[ \n].*?)(?=\n|$)", panel)
        if option.is_flag:
            continue
        assert row.startswith(f"{name} {option.metavar} ")
        assert PLAIN_METAVAR.fullmatch(option.metavar), row
        if NUMBER_OR_CHOICE.fullmatch(option.metavar):
            assert re.search(r"\[(default: .+|required)\]$", row), row
    assert "-h, --help" in panels[FINE_POINTS if has_panels else "Options"]


@every_command
def test_two_examples_are_understood(typed: tuple[str, ...]) -> None:
    lines = examples(EVERY[typed])
    assert len(lines) >= 2
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "clipcli"
        command, context = ROOT, ROOT.make_context("clipcli", [])
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]
            context = command.make_context(words[0], words[1:], parent=context)
            words = words[1:]
        assert context.command is command, line


def test_commands_come_in_the_order_in_which_people_meet_them(cli: Cli) -> None:
    text = cli().stdout.decode()
    assert text == cli("--help").stdout.decode()
    assert tuple(re.findall(r"^  (\w+) {2,}\w", text, re.MULTILINE))[: len(ORDER)] == ORDER
    assert set(ORDER) == {typed[0] for typed in EVERY if typed}


def test_headings_are_bold_at_a_terminal_that_shows_it() -> None:
    settings = [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}]
    script = (
        "import json, os, sys; from clipcli.cli.main import run\n"
        "for settings in json.loads(sys.argv[1]):\n"
        "    os.environ |= {'NO_COLOR': '', 'TERM': 'xterm'} | settings\n"
        "    run(['classify', '--help']); print('\\x1e', end='')\n"
    )
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(settings)], stdout=slave, env=environment
    )
    os.close(slave)
    printed = b""
    while printed.count(b"\x1e") < len(settings):
        printed += os.read(master, 1 << 16)
    assert process.wait(60) == 0
    os.close(master)
    bold, *plain = printed.decode().replace("\r\n", "\n").split("\x1e")[:3]
    assert "\n\x1b[1mLabels\x1b[0m:\n" in bold
    assert plain == [re.sub("\x1b.*?m", "", bold)] * 2
    assert 80 < max(map(len, plain[0].splitlines())) <= 100
