"""All rows of a table, in its own order, and what is wrong with one of them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from clipcli.embedding.cache.failures import FAILURES
from clipcli.embedding.cache.proof import UNIT_LENGTH_ERROR, is_whole
from clipcli.errors import one_line

# a transaction brings a photograph's rows together: table, condition, what lacks a part
TORN = (
    ("pixels", "pixels NOT IN (SELECT pixels FROM embedding)", "pixels without an embedding"),
    ("file", "content NOT IN (SELECT content FROM pixels)", "files without pixels"),
    ("embedding", "model NOT IN (SELECT key FROM model)", "embeddings without a model"),
    ("text", "model NOT IN (SELECT key FROM model)", "texts without a model"),
)
_KEYS = {  # of others, a number
    "file": ("path",),
    "pixels": ("content", "preprocessing"),
    "failure": ("path", "way"),
}
_LAST_ROWID = 2**63 - 1


class Table:
    """A table as `whole` has it, a connection to a file of the newest version."""

    def __init__(self, whole: sqlite3.Connection, name: str) -> None:
        self.name = name
        self._key = _KEYS.get(name, ("rowid",))
        info = whole.execute(f"PRAGMA table_info({name})").fetchall()
        columns = [(column, kind == "TEXT") for _, column, kind, *_ in info]
        read = [f"CAST({column} AS BLOB)" if text else column for column, text in columns]
        self._select = f"SELECT {', '.join([*self._key, *read])} FROM {name}"
        written = ", ".join("CAST(? AS TEXT)" if text else "?" for _, text in columns)
        self.insert = f"INSERT OR REPLACE INTO {name} VALUES ({written})"

    def problems(self, connection: sqlite3.Connection) -> Iterator[str]:
        """What is wrong with rows, each named."""
        for key, values in self._rows(connection):
            problem = self.problem(values)
            if problem is not None:
                yield f"{self.name} {_shown(key[0])}: {problem}"

    def problem(self, values: Sequence[Any]) -> str | None:
        """What is wrong with the values of a row, if anything is."""
        *_, value, _ = values
        is_vector = self.name in ("embedding", "text")
        if not is_whole(values) or (is_vector and not isinstance(value, bytes)):
            return "its bits have changed"
        if is_vector and len(value) > 1:  # one byte is an answer
            with np.errstate(all="ignore"):  # NaN, infinite and huge ones are what is looked for
                numbers = np.frombuffer(value[: len(value) // 4 * 4], "<f4").astype(np.float64)
                length = float(np.linalg.norm(numbers))
            if not abs(length - 1) < UNIT_LENGTH_ERROR:
                return f"its length is {length:.4g}, expected 1"
        return None

    def readable_rows(self, damaged: sqlite3.Connection) -> Iterator[Sequence[Any]]:
        """The values of every row that SQLite can still come to, past pages that it cannot read.

        Raises one of FAILURES at the end where there are such pages.
        """
        if self._key == ("rowid",):
            yield from self._rows_past_gaps(damaged)
        else:
            yield from self._rows_from_both_ends(damaged)

    def _rows_past_gaps(self, damaged: sqlite3.Connection) -> Iterator[Sequence[Any]]:
        last, step, failure = -1, 1, None
        while last < _LAST_ROWID:
            try:
                for (rowid,), values in self._rows(damaged, "WHERE rowid > ? ORDER BY rowid", last):
                    if rowid > last:
                        last, step = rowid, 1
                    yield values
                break
            except FAILURES as error:
                failure = error
                last, step = last + step, 2 * step
        if failure is not None:
            raise failure

    def _rows_from_both_ends(self, damaged: sqlite3.Connection) -> Iterator[Sequence[Any]]:
        last: tuple[Any, ...] = ()
        try:
            for key, values in self._rows(damaged, f"ORDER BY {', '.join(self._key)}"):
                last = key
                yield values
        except FAILURES as failure:
            columns = ", ".join(self._key)
            behind = f"WHERE ({columns}) > ({', '.join('?' * len(last))})" if last else ""
            backwards = ", ".join(f"{column} DESC" for column in self._key)
            with suppress(*FAILURES):
                for _, values in self._rows(damaged, f"{behind} ORDER BY {backwards}", *last):
                    yield values
            raise failure

    def _rows(
        self, connection: sqlite3.Connection, condition: str = "", *parameters: object
    ) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
        """Key and values of each row; what is text comes as bytes."""
        for row in connection.execute(f"{self._select} {condition}", parameters):
            yield row[: len(self._key)], row[len(self._key) :]


def _shown(key: object) -> str:
    """A row number, a path, or the start of a digest."""
    if isinstance(key, bytes) and len(key) == 32:
        return key.hex()[:12]
    return one_line(os.fsdecode(key) if isinstance(key, bytes) else str(key))
