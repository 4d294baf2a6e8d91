"""The cache's tables, made and brought up to date in numbered steps, and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

# A path is trusted while its `stat` is unchanged; `content` and `pixels` are SHA-256. Rows carry
# the digests that they belong to rather than numbers of other rows, which another process could
# delete and give away again. Checksums are CRC-32: SQLite does not notice a flipped bit.
STEP_1 = """
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

# Step n takes a file from version n - 1 to n. Users have such files: add a step, change none.
STEPS = (STEP_1,)


class NewerCacheError(sqlite3.Error):
    """The file was made by a newer version of this program."""


def bring_up_to_date(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Take the steps that a file lacks, each in one transaction with its version.

    A step is SQL, its statements divided by `;`. Raises sqlite3.Error, NewerCacheError too.
    """
    for version, step in enumerate(steps, start=1):
        if _version(connection) == version - 1:
            with transaction(connection):
                if _version(connection) == version - 1:  # another process may have been first
                    for statement in step.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {version}")
    check_version(connection, steps)


def check_version(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Raise NewerCacheError for a newer file, sqlite3.DatabaseError for one that lacks a step."""
    version = _version(connection)
    if version > len(steps):
        raise NewerCacheError(f"its version is {version}, this clipcli knows {len(steps)}")
    if version < len(steps):  # its first transaction found a full disk
        raise sqlite3.DatabaseError("it has no tables yet")


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
