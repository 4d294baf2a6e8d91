"""What is whole in a damaged cache, saved into a new one that takes its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clipcli.embedding.cache import store
from clipcli.embedding.cache.failures import FAILURES, advice, described
from clipcli.embedding.cache.proof import checksum
from clipcli.embedding.cache.rows import TORN, Table
from clipcli.embedding.cache.schema import (
    TABLES,
    bring_up_to_date,
    check_not_newer,
    n_rows,
    transaction,
)
from clipcli.errors import CacheError


@dataclass(frozen=True)
class Repaired:
    """How many entries are kept, how many were read and are damaged, and whether there were
    others that could not be read."""

    n_kept: int
    n_dropped: int
    has_lost: bool


def repair(path: Path) -> Repaired:
    """Keep every row that proves itself and leads to something, in new tables and indexes.

    They are gathered in a temporary file, which SQLite copies over the damaged one in a single
    transaction: a run that has it open finds the old tables or the new ones. Under a file that was
    renamed into its place, such a run's log would be taken for that of the new file. What a run
    remembers meanwhile is lost. Raises CacheError where the file cannot be read or written.
    """
    with _opened(path) as damaged, closing(sqlite3.connect("", isolation_level=None)) as whole:
        whole.text_factory = store.text_as_it_is
        (page_bytes,) = damaged.execute("PRAGMA page_size").fetchone()
        whole.execute(f"PRAGMA page_size = {page_bytes}")  # which a copy cannot change
        bring_up_to_date(whole)
        n_dropped, has_lost = 0, False
        with transaction(whole):
            for name in TABLES:
                n_damaged, is_read = _save(Table(whole, name), damaged, whole)
                n_dropped += n_damaged
                has_lost |= not is_read
            _name_models(whole)
            for name, condition, _ in TORN:
                n_dropped += whole.execute(f"DELETE FROM {name} WHERE {condition}").rowcount
        whole.backup(damaged, progress=_give_up_if_held)
        return Repaired(n_rows(whole), n_dropped, has_lost)


def _save(table: Table, damaged: sqlite3.Connection, whole: sqlite3.Connection) -> tuple[int, bool]:
    """Copy the rows that prove themselves: how many do not, and whether all could be read."""
    n_damaged = 0
    rows = table.readable_rows(damaged)
    while True:
        try:
            values = next(rows, None)
        except FAILURES:
            return n_damaged, False
        if values is None:
            return n_damaged, True
        if table.problem(values) is None:
            whole.execute(table.insert, values)
        else:
            n_damaged += 1


def _name_models(whole: sqlite3.Connection) -> None:
    """Embeddings whose model's row is lost stay; its next run writes the row again."""
    nameless = whole.execute(
        "SELECT model FROM embedding UNION SELECT model FROM text EXCEPT SELECT key FROM model"
    ).fetchall()
    model = Table(whole, "model")
    for (key,) in nameless:
        row = (key, b"unknown", b"", b"")
        whole.execute(model.insert, (*row, checksum(*row)))


def _give_up_if_held(code: int, n_pages_left: int, n_pages: int) -> None:
    """SQLite would try again for ever."""
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = code
        raise error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is, whatever its tables are."""
    try:
        connection = sqlite3.connect(path, timeout=store.BUSY_S, isolation_level=None)
        with closing(connection):
            # a file that was cut short, or whose list of tables is damaged, is opened all the same
            connection.execute("PRAGMA writable_schema = ON")
            connection.text_factory = store.text_as_it_is
            check_not_newer(connection)
            yield connection
    except FAILURES as error:
        cure = advice(error, otherwise="clipcli cache clear starts anew")
        raise CacheError(f"{path}: {described(error)}; {cure}") from error
