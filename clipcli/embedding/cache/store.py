"""The SQLite file in the cache root. What goes wrong with it costs a warning, never the run."""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FILE_NAME = "embeddings.sqlite"
VERSION = 1
BUSY_S = 10.0  # how long another process may hold the file for one short transaction

# A path is trusted while its `stat` is unchanged; `content` and `pixels` are SHA-256. Rows carry
# the digests that they belong to rather than numbers of other rows, which another process could
# delete and give away again. Checksums are CRC-32: SQLite does not notice a flipped bit.
SCHEMA = """
CREATE TABLE file (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE pixels (
    content BLOB, preprocessing BLOB, pixels BLOB NOT NULL, middle_only INTEGER NOT NULL,
    PRIMARY KEY (content, preprocessing)
) WITHOUT ROWID;
CREATE TABLE embedding (
    pixels BLOB NOT NULL, model BLOB NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (pixels, model)
);
CREATE TABLE text (
    text BLOB NOT NULL, model BLOB NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (text, model)
);
CREATE TABLE model (key BLOB PRIMARY KEY, name TEXT, fingerprint TEXT, precision TEXT);
CREATE TABLE remembered (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL);
"""

# what a run asks for: one join with many files is half the work of many selects
ASKED = """
CREATE TEMPORARY TABLE asked (
    n INTEGER PRIMARY KEY, path BLOB, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    inode INTEGER
)
"""


class NewerCacheError(sqlite3.Error):
    """The file was made by a newer version of this program."""


def checksum(data: bytes) -> int:
    """CRC-32 of what is stored beside it."""
    return zlib.crc32(data)


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file. Raises sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # threads share the connection, one at a time
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        # seven embeddings to a page rather than one and a half of it lost; for a new file only
        connection.execute("PRAGMA page_size = 16384")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
        _prepare(connection)
        if _version(connection) == 0:
            with transaction(connection):
                if _version(connection) == 0:  # another process may have been first
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        _check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file on a disk that cannot be written. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _check_version(connection)
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of two processes that make the file at once, SQLite lets one fail here and does not wait."""
    give_up_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA cache_size = -65536")  # 64 MiB, for the upper parts of the trees
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(ASKED)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the lock for writing is taken at once, so that no upgrade can fail."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check_version(connection: sqlite3.Connection) -> None:
    version = _version(connection)
    if version > VERSION:
        raise NewerCacheError(f"its version is {version}, this clipcli knows {VERSION}")
    if version < VERSION:  # its first transaction found a full disk
        raise sqlite3.DatabaseError("it has no tables yet")


class Cache:
    """The store as a run uses it, from any thread. After a failure it knows nothing and keeps
    nothing, and `on_warning` has had one line."""

    def __init__(self, root: Path, on_warning: Callable[[str], None]) -> None:
        self.path = root / FILE_NAME
        self._on_warning = on_warning
        self._lock = threading.Lock()
        self._writable = True
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = connect(self.path)
        except (sqlite3.Error, OSError) as error:
            self._writable = False
            with suppress(sqlite3.Error, OSError):
                if self.path.is_file() and not isinstance(error, NewerCacheError):
                    self._connection = connect_read_only(self.path)
            self._warn(error)

    def select(self, sql: str, parameters: Iterable[Sequence[Any]]) -> list[Any]:
        """The first row, or None, for each of `parameters`."""
        with self._lock:
            if self._connection is None:
                return [None for _ in parameters]
            asked = list(parameters)
            cursor = self._connection.cursor()
            try:
                return [cursor.execute(sql, one).fetchone() for one in asked]
            except sqlite3.Error as error:
                self._fail(error)
                return [None for _ in asked]

    def select_asked(
        self, asked: Iterable[Sequence[Any]], sql: str, parameters: Sequence[Any]
    ) -> list[Any]:
        """All rows of `sql`, which joins the table `asked` with its `asked` rows in it."""
        with self._lock:
            if self._connection is None:
                return []
            try:
                self._connection.execute("DELETE FROM asked")
                self._connection.executemany("INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?)", asked)
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                self._fail(error)
                return []

    def write(self, statements: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """Each statement for each of its rows, in one transaction."""
        with self._lock:
            if self._connection is None or not self._writable:
                return
            try:
                with transaction(self._connection):
                    for sql, rows in statements:
                        self._connection.executemany(sql, rows)
            except sqlite3.Error as error:
                # a disk that is full, or a file that is held too long, can still be read
                self._fail(error, is_readable=isinstance(error, sqlite3.OperationalError))

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def __del__(self) -> None:
        # a connection holds on to itself, and would wait for the garbage collector
        self.close()

    def _fail(self, error: sqlite3.Error, is_readable: bool = False) -> None:
        """Write no more, and read no more either unless `is_readable`; warn the first time."""
        is_first = self._writable
        self._writable = False
        if not is_readable:
            self._disconnect()
        if is_first:
            self._warn(error)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _warn(self, error: Exception) -> None:
        state = "nothing is remembered in this run" if self._connection else "the run does without"
        advice = (
            "update clipcli, or start anew with"
            if isinstance(error, NewerCacheError)
            else ("if this comes again:")
        )
        self._on_warning(
            f"embedding cache {self.path}: {error}; {state}; {advice} clipcli cache clear"
        )
