"""Starts the program, and is the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from clipcli.cli import surroundings, talk, wrong_usage
from clipcli.cli.stopping import stop_at
from clipcli.errors import (
    ClipcliError,
    ClosedPipeError,
    ExitCode,
    StoppedError,
    UsageError,
)
from clipcli.runtime.process import tune_process


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    surroundings.secure_streams()
    tune_process()
    code = run(sys.argv[1:])
    sys.stderr.flush()
    # all that was to be written is; taking torch apart object by object takes half a second
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line. A bug keeps its traceback; everything else is one line on stderr."""
    # our own exceptions: Typer would make an exit of a KeyboardInterrupt, and lose its notes
    stop_at(signal.SIGTERM, StoppedError("terminated", ExitCode.TERMINATED), _dispatch)
    stop_at(signal.SIGINT, StoppedError("interrupted", ExitCode.INTERRUPTED), _dispatch)
    # what Pillow says of odd files it can read would be two lines each, in the bar's way
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with talk.of_run(arguments):
        code = _ended(arguments)
        talk.tell_end(f"exit code {code:d}")
        return code


def _ended(arguments: list[str]) -> int:
    try:
        surroundings.leave_gone_directory()
        with _all_let_go():
            code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except (ClipcliError, StoppedError) as error:
        _complain(str(error), error)
        return error.exit_code
    except ClosedPipeError:
        return ExitCode.OK
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        _complain("no more threads can be started; raise the limit (ulimit -u)", error)
        return ExitCode.FAILED


@contextmanager
def _all_let_go() -> Iterator[None]:
    """What ends the run may come while a generator waits at its `yield`. The traceback holds that
    generator, and with it the bar, which is to be gone before the last line is said."""
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


def _dispatch(arguments: list[str]) -> int:
    import typer

    from clipcli.cli.app import app

    command = typer.main.get_command(app)
    arguments = wrong_usage.straightened(arguments)
    misplaced = wrong_usage.option_as_value(command, arguments)
    if misplaced is not None:
        raise UsageError(misplaced)
    try:
        code = command.main(arguments, prog_name="clipcli", standalone_mode=False)
    except typer.TyperException as error:
        _complain(wrong_usage.explained(error, command, arguments), error)
        return ExitCode.USAGE
    return int(code or 0)


def _complain(message: str, error: BaseException) -> None:
    """One line; notes added on the way say where the rows so far are."""
    talk.complain("; ".join([message, *getattr(error, "__notes__", ())]))
