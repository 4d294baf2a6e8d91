"""Starts the program, and is the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from clipcli.errors import ClipcliError, ClosedPipeError, ExitCode, TerminatedError, one_line


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line. A bug keeps its traceback; everything else is one line on stderr."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _dispatch(arguments)
    except ClipcliError as error:
        _complain(str(error), error)
        return error.exit_code
    except ClosedPipeError:
        # Python flushes stdout at exit, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt as error:
        _complain("interrupted", error)
        return ExitCode.INTERRUPTED
    except TerminatedError as error:
        _complain("terminated", error)
        return ExitCode.TERMINATED


def _dispatch(arguments: list[str]) -> int:
    import typer

    from clipcli.cli.app import app

    try:
        code = app(args=arguments or ["--help"], prog_name="clipcli", standalone_mode=False)
    except typer.Abort as error:  # what Typer makes of Ctrl-C
        interrupt = KeyboardInterrupt()
        for note in getattr(error.__context__, "__notes__", ()):
            interrupt.add_note(note)
        raise interrupt from error
    except typer.TyperException as error:
        message = error.format_message()
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "clipcli"
        _complain(f"{message[:1].lower()}{message[1:].rstrip('.')}; see {command} --help", error)
        return ExitCode.USAGE
    return int(code or 0)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise TerminatedError


def _complain(message: str, error: BaseException) -> None:
    """One line; notes added on the way say where the rows so far are."""
    line = "; ".join([message, *getattr(error, "__notes__", ())])
    print(f"clipcli: {one_line(line)}", file=sys.stderr)
