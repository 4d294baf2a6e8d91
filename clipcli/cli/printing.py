"""Data on stdout, for commands that print no rows."""

from __future__ import annotations

from clipcli.files.stdout import Stdout


def print_text(text: str) -> None:
    """A closed pipe ends the run quietly, a full disk with one line."""
    with Stdout() as stdout:
        stdout.write(text.encode("utf-8", "surrogateescape"))


def print_line(line: object) -> None:
    """One line of data."""
    print_text(f"{line}\n")
