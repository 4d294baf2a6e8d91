"""Standard output, as a place where bytes go."""

from __future__ import annotations

import errno
import sys
import time
from typing import Self

from clipcli.errors import ClosedPipeError, OutputError
from clipcli.files.terminal import shown


class Stdout:
    """Standard output. Raises ClosedPipeError when nobody reads it any more.

    Each write is flushed. Only a terminal gets them together, ten times a second, since the
    progress bar below is drawn again for each. `is_shown`: what is written is fit for a terminal
    as it is, with its colours.
    """

    def __init__(self, is_shown: bool = False) -> None:
        self._is_shown = is_shown
        self._is_terminal = sys.stdout.isatty()
        self._waiting: list[bytes] = []
        self._last_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        if not self._is_terminal or time.monotonic() - self._last_s > 0.1:
            self.flush()

    def flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._last_s = time.monotonic()
        try:
            if self._is_terminal:  # through the text layer, which a bar makes room for
                sys.stdout.write((data if self._is_shown else shown(data)).decode())
                sys.stdout.flush()
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        except OSError as error:
            raise why_unwritable(error) from error


def why_unwritable(error: OSError) -> ClosedPipeError | OutputError:
    """What an error on standard output means."""
    if isinstance(error, BrokenPipeError):
        return ClosedPipeError()
    if error.errno == errno.EBADF:
        return OutputError("stdout is closed; expected a terminal, a pipe or a file")
    return OutputError(f"stdout: cannot be written: {error.strerror}")
