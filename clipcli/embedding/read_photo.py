"""One photograph's file to its pixels, or to its embedding where that is known. For any thread."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.photos import FileState, PhotoEntry, PhotoMemory
from clipcli.errors import PassingPhotoError, PhotoError
from clipcli.photos.decode import DecodeOptions, decode_file
from clipcli.photos.open_picture import open_photo
from clipcli.photos.photo_file import PhotoFile
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Failure

if TYPE_CHECKING:
    from clipcli.records import Embedding


@dataclass(frozen=True)
class ReadPhoto:
    """A photograph that was read: `pixels` uint8 [px, px, 3], or its embedding if that is known.

    `entry` is what the cache is to keep of it, where anything is kept.
    """

    path: str
    middle_only: bool
    pixels: NDArray[np.uint8] | None = None
    embedding: Embedding | None = None
    entry: PhotoEntry | None = None

    @property
    def picture(self) -> bytes | int:
        """A key that is equal for equal pixels: their SHA-256, or without a cache `id(self)`."""
        digest = self.entry.pixels if self.entry is not None else None
        return id(self) if digest is None else digest


def read(
    path: str, config: PreprocessConfig, options: DecodeOptions, memory: PhotoMemory | None
) -> ReadPhoto | Failure:
    """Read one file; whatever is wrong with it becomes its `Failure`."""
    try:
        with open_photo(path) as file:
            if memory is None:
                decoded = decode_file(file, path, config, options)
                return ReadPhoto(path, decoded.middle_only, decoded.pixels)
            return _read_once(file, path, config, options, memory)
    except PhotoError as error:
        return Failure(path, str(error))


def _read_once(
    file: PhotoFile,
    path: str,
    config: PreprocessConfig,
    options: DecodeOptions,
    memory: PhotoMemory,
) -> ReadPhoto:
    """Decode only if the file's content is unknown, and pass pixels on only if they are."""
    started_ns = time.time_ns()
    before = _state(file)
    content = _digest(file)
    known = memory.by_content(content)
    if known is not None:
        entry = PhotoEntry(path, content, _trusted(file, before, started_ns))
        return ReadPhoto(path, known.middle_only, embedding=known.embedding, entry=entry)
    file.seek(0)
    try:
        decoded = decode_file(file, path, config, options)
    except PassingPhotoError:
        raise
    except PhotoError as error:
        if (state := _trusted(file, before, started_ns)) is not None:
            memory.remember_failure(path, state, str(error))
        raise
    state = _trusted(file, before, started_ns)
    if _state(file) != before:  # written to meanwhile: the bytes hashed may not be those decoded
        return ReadPhoto(path, decoded.middle_only, decoded.pixels)
    pixels = hashlib.sha256(decoded.pixels.data).digest()
    entry = PhotoEntry(path, content, state, pixels, decoded.middle_only)
    embedding = memory.by_pixels(pixels)
    new_pixels = decoded.pixels if embedding is None else None
    return ReadPhoto(path, decoded.middle_only, new_pixels, embedding, entry)


def _state(file: PhotoFile) -> FileState:
    return FileState.of(os.fstat(file.fileno()))


def _trusted(file: PhotoFile, before: FileState, started_ns: int) -> FileState | None:
    """The state by which the file may be known later: unchanged while it was read, and settled."""
    return before if _state(file) == before and before.is_settled(started_ns) else None


def _digest(file: PhotoFile) -> bytes:
    try:
        return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
