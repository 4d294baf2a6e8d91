"""Files that appear whole or not at all: written beside as NAME.part, then renamed."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from clipcli.errors import LockedError, OutputError

if sys.platform != "win32":
    import fcntl

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PartFile:
    """Bytes on their way to `path`, which stays untouched until `commit`.

    `abandon` leaves what was written in `part_path`. A device or a pipe is written directly.
    Raises OutputError where the disk refuses, LockedError while another run writes the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            mode = path.stat().st_mode if path.exists() else stat.S_IFREG
            if stat.S_ISDIR(mode):
                raise OutputError(f"{path}: is a folder; expected the name of a file to write")
            self._is_special = not stat.S_ISREG(mode)
            # a link stays a link to the new file; /dev/stdout may be a link to no path at all
            self._target = path if self._is_special else Path(os.path.realpath(path))
            self.part_path = self._target
            if not self._is_special:
                self.part_path = self._target.with_name(self._target.name + ".part")
            self._file = self._open()
        except OSError as error:
            raise self._failed(error) from error

    def write(self, data: bytes) -> None:
        """Append. What is written is on its way to the disk: a killed run loses nothing of it."""
        try:
            self._write_all(data)
        except OSError as error:
            raise self._failed(error) from error

    def write_at_start(self, data: bytes) -> None:
        """Replace the first bytes, and go on appending at the end."""
        try:
            self._file.seek(0)
            self._write_all(data)
            self._file.seek(0, os.SEEK_END)
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

    def abandon(self) -> Path | None:
        """Stop here. What was written stays in the path returned, if anything was."""
        is_empty = not self._is_special and self._file.tell() == 0
        if is_empty:
            with suppress(OSError):
                self.part_path.unlink()
        self._file.close()
        return None if is_empty or self._is_special else self.part_path

    def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _open(self) -> io.FileIO:
        """The part, empty and locked until it is closed, by the system even if we are killed."""
        if self._is_special:
            return io.FileIO(self._target, "wb")
        while True:
            file = io.FileIO(os.open(self.part_path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
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
        advice = "; free some space" if error.errno in FULL else ""
        return OutputError(f"{self.path}: cannot be written: {error.strerror or error}{advice}")
