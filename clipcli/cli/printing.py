"""Data on stdout, for commands that print no rows."""

from __future__ import annotations

from clipcli.errors import one_line
from clipcli.files.stdout import Stdout


def print_text(text: str) -> None:
    """A closed pipe ends the run quietly, a full disk with one line."""
    with Stdout() as stdout:
        stdout.write(text.encode("utf-8", "surrogateescape"))


def print_line(line: object) -> None:
    """One line of data, also where a name in it has a line break and this is a terminal."""
    with Stdout() as stdout:
        text = one_line(str(line)) if stdout.isatty() else str(line)
        stdout.write(f"{text}\n".encode("utf-8", "surrogateescape"))
