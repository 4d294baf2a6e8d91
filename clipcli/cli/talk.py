"""What the command says on stderr: the notes and warnings of all modules, a line each.

Notes are INFO, which --quiet leaves out; warnings are always said.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clipcli.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

_logger = logging.getLogger("clipcli")


class _Stderr(logging.Handler):
    """Writes to stderr, or above the bar that is being drawn there."""

    console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = f"clipcli: {one_line(record.getMessage())}"
        if self.console is not None:
            self.console.print(line, soft_wrap=True)
        else:
            print(line, file=sys.stderr)


_stderr = _Stderr()


@contextmanager
def on_stderr() -> Iterator[None]:
    """Listen to the library for the time of one command."""
    level = _logger.level
    _logger.addHandler(_stderr)
    _logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        _logger.removeHandler(_stderr)
        _logger.setLevel(level)


def leave_out_notes() -> None:
    """For --quiet, until the command ends."""
    _logger.setLevel(logging.WARNING)


@contextmanager
def above(console: Console) -> Iterator[None]:
    """While a bar is drawn on this console, lines stand above it."""
    _stderr.console = console
    try:
        yield
    finally:
        _stderr.console = None
