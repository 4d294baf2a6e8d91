"""What a process is born into: standard streams that may be closed or full, a working directory
that may be gone, no place for temporary files."""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from clipcli.errors import ClipcliError
from clipcli.files.stdout import why_unwritable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

logger = logging.getLogger(__name__)

# a directory in which nothing can be made, and nothing is but numbers
NOWHERE = "/proc/self/fdinfo"


def secure_streams() -> None:
    """Afterwards each of the three streams is there, and an error on one ends as `_Data` and
    `_Talk` say. A closed one would leave its number to the next file that is opened, and what is
    printed would land in that file."""
    # the wrong way round, so that using stdin and stdout fails as it does when they are closed
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # gets the lowest free number
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = _text_stream(_Data(io.FileIO(1, "w", closefd=False)), sys.stdout)
    sys.stderr = _text_stream(_Talk(io.FileIO(2, "w", closefd=False)), sys.stderr)


def leave_gone_directory() -> None:
    """Where the working directory is gone, relative paths lead nowhere and absolute ones work.

    It has to be left, since in such a place importing torch ends the process (MKL does).
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        with suppress(OSError):
            os.chdir(NOWHERE)
        logger.warning("the working directory is gone; relative paths lead nowhere")


def check_temporary_directory() -> None:
    """To be called before torch's compiler or its optimizers, which ask for one, are imported.

    Raises ClipcliError where none can be written.
    """
    import tempfile

    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ClipcliError(f"{error.strerror}; set TMPDIR to one that can be written") from error


class _Data(io.BufferedWriter):
    """stdout: an error ends the run as `files.stdout` says, and nothing more is written.

    Below the buffer no Python runs, here as in `_Talk`: a signal there would come after the bytes
    are out and before the buffer knows, which would then write them again.
    """

    _has_failed = False

    def write(self, data: ReadableBuffer) -> int:
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            raise why_unwritable(error) from error

    def flush(self) -> None:
        if self._has_failed:
            return
        try:
            super().flush()
        except OSError as error:
            self._has_failed = True
            raise why_unwritable(error) from error


class _Talk(io.BufferedWriter):
    """stderr: what cannot be said, on a full disk or to nobody, is left out; the run goes on."""

    def write(self, data: ReadableBuffer) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _text_stream(buffer: io.BufferedWriter, before: TextIO | None) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    # a character that the terminal's encoding lacks is shown as an escape
    return io.TextIOWrapper(
        buffer,
        encoding,
        "backslashreplace",
        line_buffering=isinstance(buffer, _Talk) or buffer.isatty(),
    )
