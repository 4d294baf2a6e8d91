"""What the command says: the notes and warnings of all modules, a line each, on stderr and in the
file of --log.

Notes are INFO, which --quiet leaves out on stderr; warnings and errors are always said.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from clipcli.errors import OutputError, UsageError, one_line
from clipcli.files.suffixes import check_suffix

if TYPE_CHECKING:
    from rich.console import Console

_logger = logging.getLogger("clipcli")
_PROGRESS = "clipcli.cli.work.progress"  # which a terminal without a cursor gets as lines


class _Stderr(logging.Handler):
    """Writes to stderr, or above the bar that is being drawn there."""

    console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = f"clipcli: {one_line(record.getMessage())}"
        if self.console is not None:
            self.console.print(line, soft_wrap=True)
        else:
            print(line, file=sys.stderr)


class _LogFile(logging.Handler):
    """Appends to a file: time, process, line. Each line is one write, so that several runs may
    share the file."""

    def __init__(self, path: str, first_line: str) -> None:
        super().__init__()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, "O_NONBLOCK", 0)  # a pipe without a reader would be waited for
        try:
            self._number = os.open(path, flags, 0o666)
            self._write(first_line)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"--log {path}: cannot be written: {reason}") from error

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != _PROGRESS:
            self.say(record.getMessage())

    def say(self, line: str) -> None:
        with suppress(OSError):  # a disk that is full by now does not end the run
            self._write(line)

    def close(self) -> None:
        os.close(self._number)
        super().close()

    def _write(self, line: str) -> None:
        from datetime import datetime  # which takes as long as all else here

        now = datetime.now().astimezone().isoformat(timespec="seconds")
        os.write(self._number, f"{now} {os.getpid()} {one_line(line)}\n".encode())


class _Talk:
    """Of one command at a time."""

    arguments: Sequence[str] = ()
    log: _LogFile | None = None


_stderr = _Stderr()
_talk = _Talk()


@contextmanager
def of_run(arguments: Sequence[str]) -> Iterator[None]:
    """Listen to the library for the time of one command line."""
    level = _logger.level
    _logger.addHandler(_stderr)
    _logger.setLevel(logging.INFO)
    _talk.arguments = arguments
    try:
        yield
    except BaseException as error:  # a bug, whose traceback follows on stderr
        tell_end(f"{type(error).__name__}: {error}")
        raise
    finally:
        _logger.removeHandler(_stderr)
        _stderr.setLevel(logging.NOTSET)
        _logger.setLevel(level)
        if _talk.log is not None:
            _logger.removeHandler(_talk.log)
            _talk.log.close()
            _talk.log = None


def leave_out_notes() -> None:
    """For --quiet, until the command ends; --log has them all the same."""
    _stderr.setLevel(logging.WARNING)


def log_to(path: str, *others: str | None) -> None:
    """From now on, append what is said to this file as well. others: what the run writes.

    Raises OutputError where it cannot be written, UsageError for a file that holds something else.
    """
    check_suffix("--log", path, ".log")
    if any(os.path.realpath(path) == os.path.realpath(other) for other in others if other):
        raise UsageError(f"--log {path}: another option writes this file; give each its own")
    _talk.log = _LogFile(path, f"begins: {shlex.join(['clipcli', *_talk.arguments])}")
    _logger.addHandler(_talk.log)


def complain(line: str) -> None:
    """Say what ended the run."""
    _logger.error(line)


def tell_end(how: str) -> None:
    """For the log alone: how the run ended."""
    if _talk.log is not None:
        _talk.log.say(f"ends: {how}")


@contextmanager
def above(console: Console) -> Iterator[None]:
    """While a bar is drawn on this console, lines stand above it."""
    _stderr.console = console
    try:
        yield
    finally:
        _stderr.console = None
