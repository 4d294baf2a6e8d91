"""Photographs that were encoded before, known by their path, their content or their pixels, and
files that could not be decoded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from clipcli.embedding.cache.proof import (
    checksum,
    fits,
    flag_bytes,
    state_bytes,
    to_blob,
    unit_vectors,
)
from clipcli.embedding.cache.store import Cache
from clipcli.errors import one_line
from clipcli.models.hashed import hashed
from clipcli.models.spec import ModelSpec
from clipcli.photos.formats import reader_versions
from clipcli.photos.memory import DEFAULT_MAX_MEGAPIXELS

if TYPE_CHECKING:
    from clipcli.records import Embedding

PREPROCESSING_VERSION = 1  # to be raised when the same options give other pixels
SETTLED_NS = 2_000_000_000  # file times are coarse: two changes within 2 s may look like one
_INT64_MAX = 2**63 - 1

_PROVEN = "pixels.checksum, pixels, middle_only, embedding.checksum, vector"
_BY_PATH = (
    f"SELECT n, file.checksum, content, {_PROVEN}"
    " FROM wanted_file CROSS JOIN file USING (path, size, mtime_ns, ctime_ns, inode)"
    " CROSS JOIN pixels USING (content) CROSS JOIN embedding USING (pixels)"
    " WHERE preprocessing = ? AND model = ?"
)
_BY_CONTENT = (
    f"SELECT {_PROVEN} FROM pixels CROSS JOIN embedding USING (pixels)"
    " WHERE content = ? AND preprocessing = ? AND model = ?"
)
_BY_PIXELS = "SELECT checksum, vector FROM embedding WHERE pixels = ? AND model = ?"
_FAILURES = (
    "SELECT n, failure.checksum, versions, error"
    " FROM wanted_file CROSS JOIN failure USING (path, size, mtime_ns, ctime_ns, inode)"
    " WHERE way = ? AND versions = ?"
)


class FileState(NamedTuple):
    """What changes when a file does: bytes, times in ns, and its number in the file system."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileState:
        # some file systems hold times before 1970 and after 2262, which SQLite's integers do not
        return cls(
            stat.st_size,
            stat.st_mtime_ns & _INT64_MAX,
            stat.st_ctime_ns & _INT64_MAX,
            stat.st_ino & _INT64_MAX,
        )

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

    `preprocessing`: what changes pixels, as `DecodeOptions.name`. `max_megapixels`: of a picture
    that is read.
    """

    def __init__(
        self,
        cache: Cache,
        spec: ModelSpec,
        preprocessing: str,
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    ) -> None:
        # the key on disk holds the options as version 0.1.0 spelled them, so that old caches serve
        words = "--reference" if preprocessing == "reference" else f"--fit {preprocessing}"
        words = words.replace(" exact", " --exact")
        described = json.dumps([PREPROCESSING_VERSION, words, hashed(spec.preprocess)])
        self._cache = cache
        self._spec = spec
        self._preprocessing = hashlib.sha256(described.encode()).digest()[:16]
        self._model = model_key(spec)
        way = json.dumps([described, max_megapixels])
        self._way = hashlib.sha256(way.encode()).digest()[:16]

    def by_path(self, paths: Sequence[str]) -> list[CachedEmbedding | None]:
        """For each path what is known of its file, which is looked at and not opened."""
        files = _files(paths)
        wanted = {n: (path, state_bytes(*state)) for n, path, *state in files}
        which = (self._preprocessing, self._model)
        found = []
        for n, file_checksum, content, *row in self._cache.select_files(files, _BY_PATH, which):
            if not fits(file_checksum, *wanted[n], content):
                self._cache.note_damage("file", wanted[n][0])
            elif self._are_proven(content, row):
                found.append((n, row))
        known: list[CachedEmbedding | None] = [None] * len(paths)
        for (n, _), one in zip(found, self._known([row for _, row in found]), strict=True):
            known[n] = one
        return known

    def failures(self, paths: Sequence[str]) -> list[str | None]:
        """For each path why its file could not be decoded, if it was tried in this way, by these
        versions, and has not changed since."""
        files = _files(paths)
        wanted = {n: (path, state_bytes(*state)) for n, path, *state in files}
        errors: list[str | None] = [None] * len(paths)
        which = (self._way, reader_versions().encode())
        for n, expected, versions, error in self._cache.select_files(files, _FAILURES, which):
            path, state = wanted[n]
            if fits(expected, path, self._way, versions, state, error):
                errors[n] = error.decode("utf-8", "replace")
            else:
                self._cache.note_damage("failure", path)
        return errors

    def remember_failure(self, path: str, state: FileState, error: str) -> None:
        """Keep why a file, in this state, could not be decoded."""
        versions = reader_versions().encode()
        row = (_key(path, _here()), self._way, versions, *state, error.encode("utf-8", "replace"))
        insert = "INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._cache.write([(insert, _proven([row]))])

    def by_content(self, content: bytes) -> CachedEmbedding | None:
        """What is known of a file with this SHA-256."""
        (row,) = self._cache.select(_BY_CONTENT, [(content, self._preprocessing, self._model)])
        if row is None or not self._are_proven(content, row):
            return None
        (known,) = self._known([row])
        return known

    def by_pixels(self, pixels: bytes) -> Embedding | None:
        """The embedding of pixels with this SHA-256."""
        (row,) = self._cache.select(_BY_PIXELS, [(pixels, self._model)])
        if row is None or not self._is_embedding(pixels, *row):
            return None
        (embedding,) = self._embeddings([pixels], [row[1]])
        return embedding

    def remember(self, entries: Sequence[PhotoEntry]) -> None:
        """Keep all of them, in one short transaction."""
        if not entries:
            return
        here = _here()
        files = [
            (_key(one.path, here), *(one.state or NOT_TRUSTED), one.content) for one in entries
        ]
        pixels = [
            (one.content, self._preprocessing, one.pixels, one.middle_only)
            for one in entries
            if one.pixels is not None
        ]
        embeddings = [
            (one.pixels, self._model, to_blob(one.embedding))
            for one in entries
            if one.embedding is not None
        ]
        readable = [(key, self._way) for key, *_ in files]
        self._cache.write(
            [
                ("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", _proven(files)),
                ("INSERT OR REPLACE INTO pixels VALUES (?, ?, ?, ?, ?)", _proven(pixels)),
                ("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?)", _proven(embeddings)),
                (ADD_MODEL, [model_row(self._spec)]),
                ("DELETE FROM failure WHERE path = ? AND way = ?", readable),
            ]
        )

    def _are_proven(self, content: bytes, row: Sequence[Any]) -> bool:
        """Whether the pixels are those of the content, and the embedding is that of the pixels."""
        pixels_checksum, pixels, middle_only, embedding_checksum, blob = row
        flag = flag_bytes.get(middle_only)
        if not fits(pixels_checksum, content, self._preprocessing, pixels, flag):
            self._cache.note_damage("pixels", content)
            return False
        return self._is_embedding(pixels, embedding_checksum, blob)

    def _is_embedding(self, pixels: bytes, expected: int, blob: bytes) -> bool:
        is_proven = fits(expected, pixels, self._model, blob)
        if not is_proven:
            self._cache.note_damage("embedding", pixels)
        return is_proven

    def _known(self, rows: Sequence[Sequence[Any]]) -> list[CachedEmbedding | None]:
        """Of rows that are proven."""
        embeddings = self._embeddings([row[1] for row in rows], [row[4] for row in rows])
        return [
            None if embedding is None else CachedEmbedding(embedding, bool(row[2]))
            for row, embedding in zip(rows, embeddings, strict=True)
        ]

    def _embeddings(
        self, pixels: Sequence[bytes], blobs: Sequence[bytes]
    ) -> list[Embedding | None]:
        embeddings = unit_vectors(blobs, self._spec.embed_dim)
        for one, embedding in zip(pixels, embeddings, strict=True):
            if embedding is None:
                self._cache.note_damage("embedding", one)
        return embeddings


ADD_MODEL = "INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?, ?)"


def model_key(spec: ModelSpec) -> bytes:
    """What embeddings are stored under: the model's tensors and preprocessing, its precision."""
    return hashlib.sha256(f"{spec.fingerprint} {spec.precision}".encode()).digest()[:16]


def model_row(spec: ModelSpec) -> tuple[bytes, str, str, str, int]:
    names = (one_line(spec.name), spec.fingerprint, spec.precision)  # a path need not be UTF-8
    key = model_key(spec)
    return key, *names, checksum(key, *(name.encode() for name in names))


def _proven(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*row, checksum(*row)) for row in rows]


def _here() -> str:
    """The working directory; where it is gone no relative path is found, and none has a key."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _key(path: str, here: str) -> bytes:
    """The absolute path. os.path.abspath would ask for the directory again for each: 2 µs."""
    return os.fsencode(os.path.normpath(os.path.join(here, path)))


def _files(paths: Sequence[str]) -> list[tuple[Any, ...]]:
    """The place, key and state of each file that is there."""
    here = _here()
    return [
        (n, _key(path, here), *state)
        for n, path in enumerate(paths)
        if (state := _state(path)) is not None
    ]


def _state(path: str) -> FileState | None:
    """Of the file behind links, if there is one."""
    try:
        return FileState.of(os.stat(path))
    except (OSError, ValueError):
        return None
