"""One photograph's file to its pixels, or to its embedding where that is known. For any thread."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.photos import FileState, Learned, PhotoMemory, Source, read_at_ns
from clipcli.errors import PhotoError
from clipcli.photos.decode import DecodeOptions, decode_file, open_photo
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Failure

if TYPE_CHECKING:
    from clipcli.records import Embedding


@dataclass(frozen=True)
class Read:
    """A photograph that was read: `pixels` uint8 [px, px, 3], or its embedding if that is known.

    `learned` is what to remember of it, where anything is remembered.
    """

    path: str
    middle_only: bool
    pixels: NDArray[np.uint8] | None = None
    embedding: Embedding | None = None
    learned: Learned | None = None


def read(
    path: str, config: PreprocessConfig, options: DecodeOptions, memory: PhotoMemory | None
) -> Read | Failure:
    """Read one file; whatever is wrong with it becomes its `Failure`."""
    try:
        with open_photo(path) as file:
            if memory is None:
                decoded = decode_file(file, path, config, options)
                return Read(path, decoded.middle_only, decoded.pixels)
            return _read_once(file, path, config, options, memory)
    except PhotoError as error:
        return Failure(path, str(error))


def _read_once(
    file: BufferedReader,
    path: str,
    config: PreprocessConfig,
    options: DecodeOptions,
    memory: PhotoMemory,
) -> Read:
    """Decode only what is not known by its content; pixels that are known have an embedding."""
    started_ns = read_at_ns()
    before = _state(file)
    content = _digest(file)
    known = memory.by_content(content)
    if known is not None:
        learned = Learned(Source(path, content, _trusted(file, before, started_ns)))
        return Read(path, known.middle_only, embedding=known.embedding, learned=learned)
    file.seek(0)
    decoded = decode_file(file, path, config, options)
    state = _trusted(file, before, started_ns)
    if _state(file) != before:  # written to meanwhile: its bytes and its pixels may be two things
        return Read(path, decoded.middle_only, decoded.pixels)
    pixels = hashlib.sha256(decoded.pixels.data).digest()
    learned = Learned(Source(path, content, state), pixels, decoded.middle_only)
    embedding = memory.by_pixels(pixels)
    if embedding is not None:
        return Read(path, decoded.middle_only, embedding=embedding, learned=learned)
    return Read(path, decoded.middle_only, decoded.pixels, learned=learned)


def _state(file: BufferedReader) -> FileState:
    return FileState.of(os.fstat(file.fileno()))


def _trusted(file: BufferedReader, before: FileState, started_ns: int) -> FileState | None:
    """The state to know the file by, if it was the same for long enough and while it was read."""
    return before if _state(file) == before and before.is_settled(started_ns) else None


def _digest(file: BufferedReader) -> bytes:
    try:
        return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
