"""Files that appear whole or not at all: written beside as NAME.part, then renamed."""

from __future__ import annotations

import errno
import filecmp
import io
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from clipcli.errors import NothingReadError, OutputError
from clipcli.files.lock import lock_part
from clipcli.files.terminal import shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PartFile:
    """Bytes on their way to `path`, which stays untouched until a `with` block ends well.

    `kept` names what half a file holds, such as "rows": after an error these stay in `part_path`,
    and a note on the error says so. Without `kept`, or where nothing could be read, nothing stays.
    It is locked from the start; a part that an earlier run left is written over with the first
    bytes, not before: a run may end without any. A device or a pipe is written directly.
    Raises OutputError where the disk refuses, LockedError while another run writes the same file.
    """

    def __init__(self, path: Path, kept: str = "") -> None:
        self.path = path
        self._kept = kept
        self._lock = ExitStack()
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
                self._lock.callback(lock_part(self.part_path))
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = io.FileIO(os.open(self.part_path, flags, 0o666), "wb")
            self._is_begun = self._is_special
            self._is_terminal = self._is_special and self._file.isatty()
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file.closed:  # the block has called commit or abandon
            return
        if error is None:
            self.commit()
        elif part := self.abandon(error):
            error.add_note(f"the {self._kept} so far are in {part}")

    def isatty(self) -> bool:
        """Whether it is a terminal, as /dev/stdout may be."""
        return self._is_terminal

    def write(self, data: bytes) -> None:
        """Append, at once: a killed run loses nothing of it."""
        try:
            self._write_all(shown(data) if self._is_terminal else data)
        except OSError as error:
            raise self._failed(error) from error

    def flush(self) -> None:
        """Nothing waits to be written."""

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
            with self._lock:
                with self._file:  # closed before it is renamed, which Windows asks for
                    self._begin()
                    if not self._is_special:
                        os.fsync(self._file.fileno())
                if not self._is_special:
                    os.replace(self.part_path, self._target)
        except OSError as error:
            raise self._failed(error) from error

    def abandon(self, error: BaseException | None = None) -> Path | None:
        """Stop here, because of this error. What was written stays in the path returned, if it is
        `kept` and anything was but a header. Does nothing to a file that is finished."""
        if self._file.closed:
            return None
        with self._lock:
            kept = self._kept and not isinstance(error, NothingReadError)
            stays = kept and not self._is_special and self._file.tell()
            is_empty = not os.fstat(self._file.fileno()).st_size
            self._file.close()
            if not self._is_special and (is_empty or (self._is_begun and not stays)):
                with suppress(OSError):
                    self.part_path.unlink()
        return self.part_path if stays else None

    def leave_equal(self) -> bool:
        """Whether the file holds these very bytes already: it then stays, with its times, and this
        one is finished."""
        if self._is_special or not self._target.exists():
            return False
        try:
            self._begin()
            if not filecmp.cmp(self.part_path, self._target, shallow=False):
                return False
            with self._lock:
                self._file.close()
                self.part_path.unlink()
        except OSError as error:
            raise self._failed(error) from error
        return True

    def _begin(self) -> None:
        if not self._is_begun:
            self._file.truncate(0)
            self._is_begun = True

    def _write_all(self, data: bytes) -> None:
        self._begin()
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _failed(self, error: OSError) -> OutputError:
        advice = "; free some space" if error.errno in FULL else ""
        return OutputError(f"{self.path}: cannot be written: {error.strerror or error}{advice}")


def write_whole(path: Path, data: bytes) -> None:
    """A file of these bytes, or no file. Raises what `PartFile` does."""
    with PartFile(path) as file:
        file.write(data)
