"""A photograph's file, of which Pillow reads no more into memory than a limit."""

from __future__ import annotations

import io
import os
import sys
from threading import Lock

from clipcli.errors import PhotoError
from clipcli.photos.budget import BUDGET_BYTES

SLACK_BYTES = 32_000_000  # of a file besides its pixels, as a colour profile
MOST_HELD_BYTES = BUDGET_BYTES // 2  # where there is more; Pillow may copy it
PIECE_BYTES = 1 << 16  # what Pillow reads at once where it decodes as it reads

_one_large_file = Lock()  # of those beyond SLACK_BYTES, which no budget counts, one at a time


class PhotoFile(io.BufferedReader):
    """What Pillow meets before the pixels of a picture, or after those of a PNG, it keeps.

    held_bytes: what was read while the picture was opened; stored_size: of the open picture;
    has_share: of the memory for pictures, taken before it was opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__(io.FileIO(path))
        self.held_bytes = 0
        self.stored_size = (0, 0)
        self.has_share = False
        self._most_bytes = MOST_HELD_BYTES
        self._smallest = 0  # what is read in smaller pieces is not counted
        self._is_large = False

    def pixels_follow(self, format: str | None) -> None:
        """From now on what is read is decoded and not kept, but for the large pieces of a PNG."""
        self.held_bytes = 0
        self._most_bytes = SLACK_BYTES
        self._smallest = PIECE_BYTES + 1 if format == "PNG" else sys.maxsize

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > PIECE_BYTES:
            left = os.fstat(self.fileno()).st_size - self.tell()
            size = left if size is None or size < 0 else min(size, left)
        if size >= self._smallest:
            self.held_bytes += size
            if self.held_bytes > SLACK_BYTES and not self._is_large:
                self._is_large = _one_large_file.acquire()
            if self.held_bytes > self._most_bytes:
                raise PhotoError(
                    "the file holds more besides the picture than the limit of"
                    f" {self._most_bytes / 1e6:,.0f} MB; export it again without that"
                )
        return super().read(size)

    def close(self) -> None:
        super().close()
        if self._is_large:
            self._is_large = False
            _one_large_file.release()
