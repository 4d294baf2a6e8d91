"""Files that appear whole or not at all: written beside as NAME.part, then renamed."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from clipcli.errors import LockedError, OutputError

if sys.platform != "win32":
    import fcntl


class PartFile:
    """Bytes on their way to `path`, which stays untouched until `commit`.

    `abandon` leaves what was written in `part_path`. A device or a pipe is written directly.
    Raises OutputError where the disk refuses, LockedError while another run writes the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Path(os.path.realpath(path))  # a link stays a link to the new file
        self._is_special = self._target.exists() and not stat.S_ISREG(self._target.stat().st_mode)
        if self._target.is_dir():
            raise OutputError(f"{path}: is a folder; expected the name of a file to write")
        self.part_path = self._target
        if not self._is_special:
            self.part_path = self._target.with_name(self._target.name + ".part")
        try:
            self._file = self._open()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Append. What is written is on its way to the disk: a killed run loses nothing of it."""
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def write_at_start(self, data: bytes) -> None:
        """Replace the first bytes, and go on appending at the end."""
        try:
            self._file.seek(0)
            self._file.write(data)
            self._file.seek(0, os.SEEK_END)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Make the file appear under its name."""
        try:
            if not self._is_special:
                os.fsync(self._file.fileno())
                os.replace(self.part_path, self._target)
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def abandon(self) -> None:
        """Stop here; what was written stays in `part_path`."""
        self._file.close()

    def _open(self) -> BinaryIO:
        """The part, empty and locked until it is closed, by the system even if we are killed."""
        if self._is_special:
            return self._target.open("wb")
        while True:
            file = os.fdopen(os.open(self.part_path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            if sys.platform != "win32":
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    file.close()
                    raise LockedError(
                        f"{self.part_path}: another run is writing it; wait for that run or"
                        " choose another --output"
                    ) from error
            # another run may have renamed this very file to its name since we opened it
            try:
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self.part_path)):
                    file.truncate(0)
                    return file
            except FileNotFoundError:
                pass
            file.close()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written: {error.strerror}; free some space")
