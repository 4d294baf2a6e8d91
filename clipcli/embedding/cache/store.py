"""The SQLite file in the cache root. What goes wrong with it costs a warning, never the run."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipcli.embedding.cache import schema
from clipcli.embedding.cache.failures import FAILURES, advice, described
from clipcli.embedding.cache.schema import NewerCacheError, transaction

logger = logging.getLogger(__name__)

FILE_NAME = "embeddings.sqlite"
BUSY_S = 10.0  # how long another process may hold the file for one short transaction

# the files that a run looks for: one join with many of them is half the work of many selects
WANTED_FILES = """
CREATE TEMPORARY TABLE wanted_file (
    n INTEGER PRIMARY KEY, path BLOB, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    inode INTEGER
)
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file, and bring it up to date. Raises one of FAILURES."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # threads share the connection, one at a time
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        # 16 KB pages hold seven 2 KB vectors; 4 KB pages waste a third. For a new file only
        connection.execute("PRAGMA page_size = 16384")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
        _prepare(connection)
        n_dropped = schema.bring_up_to_date(connection)
        schema.check_tables(connection)
    except BaseException:
        connection.close()
        raise
    if n_dropped:
        logger.warning(
            f"embedding cache {path}: an earlier clipcli made it; damaged entries that were"
            f" dropped: {n_dropped}"
        )
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file on a disk that cannot be written. Raises one of FAILURES."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        schema.check_version(connection)
        _prepare(connection)
        schema.check_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def text_as_it_is(data: bytes) -> str:
    """Text that need not be UTF-8: where it belongs it is cast to bytes, elsewhere it is damage."""
    return data.decode("latin-1")


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
    connection.text_factory = text_as_it_is
    connection.execute("PRAGMA cache_size = -65536")  # 64 MiB, for the upper parts of the trees
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(WANTED_FILES)


class Cache:
    """The store as a run uses it, from any thread. After a failure, which is warned of in one
    line, it knows nothing and keeps nothing."""

    def __init__(self, root: Path) -> None:
        self.path = root / FILE_NAME
        self._lock = threading.Lock()
        self._writable = True
        self._damaged: set[tuple[object, ...]] = set()
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = connect(self.path)
        except FAILURES as error:
            self._writable = False
            with suppress(*FAILURES):
                if self.path.is_file() and not isinstance(error, NewerCacheError):
                    self._connection = connect_read_only(self.path)
            self._warn(error)

    def select(self, sql: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        """The first row, or None, for each of `parameters`."""
        with self._lock:
            if self._connection is not None:
                cursor = self._connection.cursor()
                try:
                    return [cursor.execute(sql, one).fetchone() for one in parameters]
                except FAILURES as error:
                    self._fail(error)
            return [None for _ in parameters]

    def select_files(
        self, files: Iterable[Sequence[Any]], sql: str, parameters: Sequence[Any]
    ) -> list[Any]:
        """All rows of `sql`, which joins the table `wanted_file` with these rows in it."""
        with self._lock:
            if self._connection is not None:
                insert = "INSERT INTO wanted_file VALUES (?, ?, ?, ?, ?, ?)"
                try:
                    self._connection.execute("DELETE FROM wanted_file")
                    self._connection.executemany(insert, files)
                    return self._connection.execute(sql, parameters).fetchall()
                except FAILURES as error:
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
            except FAILURES as error:
                # a disk that is full, or a file that is held too long, can still be read
                self._fail(error, is_readable=isinstance(error, sqlite3.OperationalError))

    def note_damage(self, *key: object) -> None:
        """Count an entry that does not prove itself, and is taken for one that is not there."""
        with self._lock:
            self._damaged.add(key)

    def warn_of_damage(self) -> None:
        """Say how many entries were damaged since the last time, if any were."""
        with self._lock:
            n_damaged = len(self._damaged)
            self._damaged.clear()
        if n_damaged:
            were = "entry was" if n_damaged == 1 else "entries were"
            logger.warning(
                f"embedding cache {self.path}: {n_damaged} damaged {were} not used and made anew;"
                " clipcli cache verify looks for more"
            )

    def close(self) -> None:
        self.warn_of_damage()
        with self._lock:
            self._disconnect()

    def __del__(self) -> None:
        self.close()  # `sqlite3.Connection` is in a reference cycle; close it now

    def _fail(self, error: Exception, is_readable: bool = False) -> None:
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
        cure = advice(error)
        if isinstance(error, NewerCacheError):
            cure += ", or start anew with clipcli cache clear"
        logger.warning(f"embedding cache {self.path}: {described(error)}; {state}; {cure}")
