"""Looking after the cache's file: info, verify, clear."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clipcli.embedding.cache.failures import FAILURES, advice, described
from clipcli.embedding.cache.proof import fits
from clipcli.embedding.cache.rows import TORN, Table
from clipcli.embedding.cache.schema import TABLES
from clipcli.embedding.cache.store import connect, connect_read_only
from clipcli.errors import CacheError, one_line


@dataclass(frozen=True)
class ModelCount:
    """What is kept of one model in one precision: how many photographs and texts."""

    name: str
    fingerprint: str
    precision: str
    n_photos: int
    n_texts: int


@dataclass(frozen=True)
class Info:
    """What the cache holds. `n_files`: paths that are trusted without being read; `n_failed`:
    others, which could not be decoded."""

    n_bytes: int
    n_files: int
    models: list[ModelCount]
    n_failed: int = 0


def info(path: Path) -> Info:
    """Count what is kept. Raises CacheError for a file that cannot be read."""
    with opened(path, to_read=True) as connection:
        models = connection.execute(
            "SELECT key, CAST(name AS BLOB), CAST(fingerprint AS BLOB), CAST(precision AS BLOB),"
            " checksum,"
            " (SELECT COUNT(*) FROM embedding WHERE model = key),"
            " (SELECT COUNT(*) FROM text WHERE model = key AND LENGTH(vector) > 1)"
            " FROM model ORDER BY name, precision"
        ).fetchall()
        counts = [
            ModelCount(name.decode(), fingerprint.decode(), precision.decode(), n_photos, n_texts)
            for key, name, fingerprint, precision, expected, n_photos, n_texts in models
            if fits(expected, key, name, fingerprint, precision)
        ]
        (n_files,) = connection.execute("SELECT COUNT(*) FROM file WHERE size >= 0").fetchone()
        (n_failed,) = connection.execute("SELECT COUNT(DISTINCT path) FROM failure").fetchone()
        return Info(size_bytes(path), n_files, counts, n_failed)


def verify(path: Path) -> list[str]:
    """Everything that is wrong with the file, one line each; empty if nothing is.

    Looks at SQLite's own structure, at the checksum of every row, at the length of every vector,
    and at whether every photograph's entry leads to one. Raises CacheError if it cannot be opened.
    """
    with opened(path, to_read=True) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        problems = [one_line(line) for line in found if line != "ok"]
        # where the structure is damaged, a row may be met that cannot be read
        with suppress(*FAILURES if problems else ()):
            for name in TABLES:
                problems += Table(connection, name).problems(connection)
            problems += _loose_ends(connection)
        return problems


def size_bytes(path: Path) -> int:
    """Of the file and what is beside it; 0 where there is nothing."""
    n_bytes = 0
    for part in _parts(path):
        try:
            n_bytes += part.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise CacheError(f"{part}: cannot be looked at: {error.strerror}") from error
    return n_bytes


def clear(path: Path) -> int:
    """Remove the file, whatever state it is in. Returns the bytes that were freed."""
    n_bytes = 0
    for part in _parts(path):
        try:
            size = part.stat().st_size
            part.unlink()
            n_bytes += size
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CacheError(f"{part}: cannot be removed: {error.strerror}") from error
    return n_bytes


@contextmanager
def opened(path: Path, to_read: bool = False) -> Iterator[sqlite3.Connection]:
    """The cache for a command. Raises CacheError, for what goes wrong in the block too."""
    try:
        try:
            connection = connect(path)
        except sqlite3.OperationalError as error:
            if not to_read:
                raise
            try:
                connection = connect_read_only(path)
            except FAILURES:
                raise error from None
        with closing(connection):
            yield connection
    except FAILURES as error:
        raise CacheError(f"{path}: {described(error)}; {advice(error)}") from error


def _loose_ends(connection: sqlite3.Connection) -> Iterator[str]:
    """Rows that lack what they lead to; harmless, and `prune` removes them."""
    for table, condition, what in TORN:
        (count,) = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {condition}").fetchone()
        if count:
            yield f"{count} {what}"


def _parts(path: Path) -> list[Path]:
    """The file, and what SQLite keeps beside it; its log first, which is of no use alone."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "")]
