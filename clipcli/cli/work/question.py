"""A question before something that cannot be undone."""

from __future__ import annotations

import sys
from contextlib import suppress

from clipcli.errors import UsageError, one_line


def is_agreed(question: str) -> bool:
    """Ask on stderr. Only y and yes agree; the end of the input does not.

    Raises UsageError where there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{question}? There is no terminal to ask at, and nothing was done; give --yes"
        )
    print(f"clipcli: {one_line(question)}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = b""
    try:
        with suppress(OSError):  # the terminal was closed
            answer = sys.stdin.buffer.readline()
    finally:
        if not answer.endswith(b"\n"):  # after Ctrl-C too, the next line is its own
            print(file=sys.stderr)
    return answer.strip().lower() in (b"y", b"yes")
