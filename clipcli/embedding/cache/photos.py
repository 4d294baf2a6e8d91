"""Photographs that were encoded before, known by their path, their content or their pixels."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.store import Cache, checksum
from clipcli.models.spec import ModelSpec

if TYPE_CHECKING:
    from clipcli.records import Embedding

PREPROCESSING_VERSION = 1  # to be raised when the same options give other pixels
SETTLED_NS = 2_000_000_000  # clocks of file systems are coarse: a later change may not show
_INT64_MAX = 2**63 - 1

_BY_PATH = (
    "SELECT n, vector, checksum, middle_only"
    " FROM asked CROSS JOIN file USING (path, size, mtime_ns, ctime_ns, inode)"
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
        """Not changed so shortly before being read that another change could look the same."""
        return all(
            abs(read_at_ns - changed_ns) >= SETTLED_NS
            for changed_ns in (self.mtime_ns, self.ctime_ns)
        )


# kept of a file that cannot be trusted: it equals no file's, and `prune` knows what it leads to
NOT_TRUSTED = FileState(-1, 0, 0, 0)


@dataclass(frozen=True)
class Known:
    """An embedding from before: unit float32 [d]; `middle_only` as in `records.Embedded`."""

    embedding: Embedding
    middle_only: bool


@dataclass(frozen=True)
class Source:
    """Where pixels came from. `content`: SHA-256 of the file; `state` is None for a file that
    cannot be trusted to be the same when it looks the same."""

    path: str
    content: bytes
    state: FileState | None


@dataclass(frozen=True)
class Learned:
    """What to remember of a photograph. `pixels`: their SHA-256, None if the content was known;
    `embedding` is None if the pixels were known."""

    source: Source
    pixels: bytes | None = None
    middle_only: bool = False
    embedding: Embedding | None = None

    def with_embedding(self, embedding: Embedding) -> Learned:
        return replace(self, embedding=embedding)


class PhotoMemory:
    """What one model, in one precision and with one preprocessing, said of photographs.

    `preprocessing`: the options that change pixels, as `DecodeOptions.describe` has them.
    """

    def __init__(self, cache: Cache, spec: ModelSpec, preprocessing: str) -> None:
        described = json.dumps([PREPROCESSING_VERSION, preprocessing, asdict(spec.preprocess)])
        self._cache = cache
        self._spec = spec
        self._preprocessing = hashlib.sha256(described.encode()).digest()[:16]
        self._model = model_key(spec)

    def by_path(self, paths: Sequence[str]) -> list[Known | None]:
        """For each path what is known of its file, which is looked at and not opened."""
        known: list[Known | None] = [None] * len(paths)
        asked = (
            (n, _key(path), state.size, state.mtime_ns, state.ctime_ns, state.inode)
            for n, path in enumerate(paths)
            if (state := _state(path)) is not None
        )
        for n, *row in self._cache.select_asked(
            asked, _BY_PATH, (self._preprocessing, self._model)
        ):
            known[n] = self._known(row)
        return known

    def by_content(self, content: bytes) -> Known | None:
        """What is known of a file with this SHA-256."""
        (row,) = self._cache.select(_BY_CONTENT, [(content, self._preprocessing, self._model)])
        return self._known(row)

    def by_pixels(self, pixels: bytes) -> Embedding | None:
        """The embedding of pixels with this SHA-256."""
        (row,) = self._cache.select(_BY_PIXELS, [(pixels, self._model)])
        return None if row is None else vector(row[0], row[1], self._spec.embed_dim)

    def remember(self, learned: Sequence[Learned]) -> None:
        """Keep all of it, in one short transaction."""
        if not learned:
            return
        files = [
            (
                _key(one.source.path),
                *astuple(one.source.state or NOT_TRUSTED),
                one.source.content,
            )
            for one in learned
        ]
        pixels = [
            (one.source.content, self._preprocessing, one.pixels, one.middle_only)
            for one in learned
            if one.pixels is not None
        ]
        embeddings = [
            (one.pixels, self._model, blob := to_blob(one.embedding), checksum(blob))
            for one in learned
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

    def _known(self, row: Sequence[Any] | None) -> Known | None:
        if row is None:
            return None
        embedding = vector(row[0], row[1], self._spec.embed_dim)
        return None if embedding is None else Known(embedding, bool(row[2]))


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


def read_at_ns() -> int:
    """Now, in the clock of `FileState`."""
    return time.time_ns()


def _key(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _state(path: str) -> FileState | None:
    """Of the file behind links, if there is one."""
    try:
        return FileState.of(os.stat(path))
    except (OSError, ValueError):
        return None
