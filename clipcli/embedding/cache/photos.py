"""Photographs that were encoded before, known by their path, their content or their pixels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.store import Cache, checksum
from clipcli.models.spec import ModelSpec

if TYPE_CHECKING:
    from clipcli.records import Embedding

PREPROCESSING_VERSION = 1  # to be raised when the same options give other pixels
SETTLED_NS = 2_000_000_000  # file times are coarse: two changes within 2 s may look like one
_INT64_MAX = 2**63 - 1

_BY_PATH = (
    "SELECT n, vector, checksum, middle_only"
    " FROM wanted_file CROSS JOIN file USING (path, size, mtime_ns, ctime_ns, inode)"
    " CROSS JOIN pixels USING (content) CROSS JOIN embedding USING (pixels)"
    " WHERE preprocessing = ? AND model = ?"
)
_BY_CONTENT = (
    "SELECT vector, checksum, middle_only FROM pixels CROSS JOIN embedding USING (pixels)"
    " WHERE content = ? AND preprocessing = ? AND model = ?"
)
_BY_PIXELS = "SELECT vector, checksum FROM embedding WHERE pixels = ? AND model = ?"


@dataclass(frozen=True)
class FileState:
    """What changes when a file does: bytes, times in ns, and its number in the file system."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileState:
        # some file systems hold times before 1970 and after 2262, which SQLite's integers do not
        numbers = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        return cls(stat.st_size, *(number & _INT64_MAX for number in numbers))

    def is_settled(self, read_at_ns: int) -> bool:
        """Whether its last change lies far enough back for another one to show in the times."""
        return all(
            abs(read_at_ns - changed_ns) >= SETTLED_NS
            for changed_ns in (self.mtime_ns, self.ctime_ns)
        )


# a placeholder that matches no file and keeps the row for `prune`
NOT_TRUSTED = FileState(-1, 0, 0, 0)


@dataclass(frozen=True)
class CachedEmbedding:
    """An embedding from before: unit float32 [d]; `middle_only` as in `records.Embedded`."""

    embedding: Embedding
    middle_only: bool


@dataclass(frozen=True)
class PhotoEntry:
    """What the cache is to keep of a photograph.

    content: SHA-256 of its file; state: None where a file that looks the same later may be
    another; pixels: their SHA-256, None if the content was known; embedding: None if the pixels
    were known.
    """

    path: str
    content: bytes
    state: FileState | None
    pixels: bytes | None = None
    middle_only: bool = False
    embedding: Embedding | None = None


class PhotoMemory:
    """The embeddings that one model, precision and preprocessing gave photographs.

    `preprocessing`: what changes pixels, as `DecodeOptions.name`.
    """

    def __init__(self, cache: Cache, spec: ModelSpec, preprocessing: str) -> None:
        # the key on disk holds the options as version 0.1.0 spelled them, so that old caches serve
        words = "--reference" if preprocessing == "reference" else f"--fit {preprocessing}"
        words = words.replace(" exact", " --exact")
        described = json.dumps([PREPROCESSING_VERSION, words, asdict(spec.preprocess)])
        self._cache = cache
        self._spec = spec
        self._preprocessing = hashlib.sha256(described.encode()).digest()[:16]
        self._model = model_key(spec)

    def by_path(self, paths: Sequence[str]) -> list[CachedEmbedding | None]:
        """For each path what is known of its file, which is looked at and not opened."""
        known: list[CachedEmbedding | None] = [None] * len(paths)
        files = (
            (n, _key(path), state.size, state.mtime_ns, state.ctime_ns, state.inode)
            for n, path in enumerate(paths)
            if (state := _state(path)) is not None
        )
        which = (self._preprocessing, self._model)
        for n, *row in self._cache.select_files(files, _BY_PATH, which):
            known[n] = self._known(row)
        return known

    def by_content(self, content: bytes) -> CachedEmbedding | None:
        """What is known of a file with this SHA-256."""
        (row,) = self._cache.select(_BY_CONTENT, [(content, self._preprocessing, self._model)])
        return self._known(row)

    def by_pixels(self, pixels: bytes) -> Embedding | None:
        """The embedding of pixels with this SHA-256."""
        (row,) = self._cache.select(_BY_PIXELS, [(pixels, self._model)])
        return None if row is None else vector(row[0], row[1], self._spec.embed_dim)

    def remember(self, entries: Sequence[PhotoEntry]) -> None:
        """Keep all of them, in one short transaction."""
        if not entries:
            return
        files = [
            (_key(one.path), *astuple(one.state or NOT_TRUSTED), one.content) for one in entries
        ]
        pixels = [
            (one.content, self._preprocessing, one.pixels, one.middle_only)
            for one in entries
            if one.pixels is not None
        ]
        embeddings = [
            (one.pixels, self._model, blob := to_blob(one.embedding), checksum(blob))
            for one in entries
            if one.embedding is not None
        ]
        self._cache.write(
            [
                ("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)", files),
                ("INSERT OR REPLACE INTO pixels VALUES (?, ?, ?, ?)", pixels),
                ("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?)", embeddings),
                (ADD_MODEL, [model_row(self._spec)]),
            ]
        )

    def _known(self, row: Sequence[Any] | None) -> CachedEmbedding | None:
        if row is None:
            return None
        embedding = vector(row[0], row[1], self._spec.embed_dim)
        return None if embedding is None else CachedEmbedding(embedding, bool(row[2]))


ADD_MODEL = "INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?)"


def model_key(spec: ModelSpec) -> bytes:
    """What embeddings are stored under: the model's tensors and preprocessing, its precision."""
    return hashlib.sha256(f"{spec.fingerprint} {spec.precision}".encode()).digest()[:16]


def model_row(spec: ModelSpec) -> tuple[bytes, str, str, str]:
    return model_key(spec), spec.name, spec.fingerprint, spec.precision


def to_blob(embedding: NDArray[np.float32]) -> bytes:
    return embedding.astype("<f4").tobytes()


def vector(blob: bytes, expected_checksum: int, embed_dim: int) -> Embedding | None:
    """The stored float32 [embed_dim], or None if a bit of it has changed."""
    if len(blob) != 4 * embed_dim or checksum(blob) != expected_checksum:
        return None
    return np.frombuffer(blob, "<f4").astype(np.float32)  # a copy, which can be written to


def _key(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _state(path: str) -> FileState | None:
    """Of the file behind links, if there is one."""
    try:
        return FileState.of(os.stat(path))
    except (OSError, ValueError):
        return None
