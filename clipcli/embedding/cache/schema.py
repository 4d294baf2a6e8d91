"""The cache's tables, made and brought up to date in numbered steps, and its transactions."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from clipcli.embedding.cache.proof import checksum

logger = logging.getLogger(__name__)

N_WORTH_A_WORD = 100_000  # entries, for which a step takes a second

# A path is trusted while its `stat` is unchanged; `content` and `pixels` are SHA-256. Rows carry
# the digests that they belong to rather than numbers of other rows, which another process could
# delete and give away again.
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

# Checksums were those of the values alone; now they prove the whole row, and every table has them.
# What had one is checked by it, and what leads to nothing has damage in it. A value of a wrong type
# gets no checksum that fits.
STEP_2 = """
DELETE FROM embedding WHERE row_checksum(CAST(vector AS BLOB)) IS NOT checksum;
DELETE FROM text WHERE row_checksum(CAST(vector AS BLOB)) IS NOT checksum;
DELETE FROM remembered WHERE row_checksum(CAST(value AS BLOB)) IS NOT checksum;
DELETE FROM pixels WHERE pixels NOT IN (SELECT pixels FROM embedding);
DELETE FROM file WHERE content NOT IN (SELECT content FROM pixels);
ALTER TABLE file ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pixels ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE OR IGNORE file SET checksum = row_checksum(
    CAST(path AS BLOB), size, mtime_ns, ctime_ns, inode, CAST(content AS BLOB)
);
UPDATE OR IGNORE pixels SET checksum = row_checksum(
    CAST(content AS BLOB), CAST(preprocessing AS BLOB), CAST(pixels AS BLOB), middle_only
);
UPDATE OR IGNORE embedding SET checksum = row_checksum(
    CAST(pixels AS BLOB), CAST(model AS BLOB), CAST(vector AS BLOB)
);
UPDATE OR IGNORE text SET checksum = row_checksum(
    CAST(text AS BLOB), CAST(model AS BLOB), CAST(vector AS BLOB)
);
UPDATE OR IGNORE model SET checksum = row_checksum(
    CAST(key AS BLOB), CAST(name AS BLOB), CAST(fingerprint AS BLOB), CAST(precision AS BLOB)
);
UPDATE OR IGNORE remembered SET checksum = row_checksum(CAST(key AS BLOB), CAST(value AS BLOB));
"""

# Files that could not be decoded in this way (preprocessing and limit) by these versions.
STEP_3 = """
CREATE TABLE failure (
    path BLOB, way BLOB, versions BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, error BLOB NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (path, way)
) WITHOUT ROWID
"""

# Step n takes a file from version n - 1 to n. Users have such files: add a step, change none.
STEPS = (STEP_1, STEP_2, STEP_3)

TABLES = ("file", "pixels", "embedding", "text", "model", "remembered", "failure")


class NewerCacheError(sqlite3.Error):
    """The file was made by a newer version of this program."""


def bring_up_to_date(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> int:
    """Take the steps that a file lacks, each in one transaction with its version.

    A step is SQL, its statements divided by `;`. Gives how many rows of an older version were
    damaged, and are dropped. Raises sqlite3.Error, NewerCacheError too.
    """
    n_dropped = 0
    for version, step in enumerate(steps, start=1):
        if _version(connection) == version - 1:
            with transaction(connection):
                if _version(connection) == version - 1:  # another process may have been first
                    n_before = 0
                    if version > 1:  # a step believes what it reads
                        check_tables(connection, steps[: version - 1])
                        _check_structure(connection)
                        n_before = n_rows(connection)
                        if n_before >= N_WORTH_A_WORD:
                            logger.info(
                                f"embedding cache: {n_before:,} entries of an earlier"
                                " clipcli are checked and brought up to date, once"
                            )
                    _take(connection, version, step)
                    n_dropped += max(0, n_before - n_rows(connection))
    check_version(connection, steps)
    return n_dropped


def check_version(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Raise NewerCacheError for a newer file, sqlite3.DatabaseError for one that lacks a step."""
    check_not_newer(connection, steps)
    version = _version(connection)
    if version < len(steps):  # its first transaction found a full disk
        raise sqlite3.DatabaseError(f"its version is {version}, expected {len(steps)}")


def check_not_newer(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Raise NewerCacheError for a file that a newer version made."""
    version = _version(connection)
    if version > len(steps):
        raise NewerCacheError(f"its version is {version}, this clipcli knows {len(steps)}")


def check_tables(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Raise sqlite3.DatabaseError for a file with other tables than these steps make."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        for version, step in enumerate(steps, start=1):
            _take(other, version, step)
        if _tables(connection) != _tables(other):
            raise sqlite3.DatabaseError(f"it lacks the tables of version {len(steps)}")


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


def _take(connection: sqlite3.Connection, version: int, step: str) -> None:
    connection.create_function("row_checksum", -1, _checksum_or_null, deterministic=True)
    for statement in step.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def _checksum_or_null(*values: Any) -> int | None:
    try:
        return checksum(*values)
    except (TypeError, struct.error):
        return None


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _tables(connection: sqlite3.Connection) -> list[Any]:
    """Names and SQL of tables and indexes, as bytes: a damaged file may hold no UTF-8."""
    columns = "CAST(name AS BLOB), CAST(sql AS BLOB)"
    return connection.execute(f"SELECT {columns} FROM sqlite_master ORDER BY 1").fetchall()


def _check_structure(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError("an earlier clipcli made it, and it is damaged")


def n_rows(connection: sqlite3.Connection) -> int:
    """How many entries there are, of all kinds that a file of its version has."""
    there = {name for (_, name, *_) in connection.execute("SELECT * FROM sqlite_master")}
    counts = " + ".join(f"(SELECT COUNT(*) FROM {name})" for name in TABLES if name in there)
    n: int = connection.execute(f"SELECT {counts}").fetchone()[0]
    return n
