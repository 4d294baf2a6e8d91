"""Forgetting photographs that are gone, and not those on a disk that is not connected."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clipcli.embedding.cache.rows import TORN
from clipcli.embedding.cache.schema import transaction
from clipcli.embedding.cache.upkeep import opened


@dataclass(frozen=True)
class Prunable:
    """What can be forgotten, and what cannot.

    n_known: files that were looked for; gone: paths of those that are gone; n_embeddings: what no
    file leads to without them; kept: how many others were not found, by the folder to blame.
    """

    n_known: int
    gone: list[str]
    n_embeddings: int
    kept: Mapping[str, int]


def look(path: Path, below: Sequence[str] = ()) -> Prunable:
    """Look for every file that is known, or only for those below these folders.

    A file is gone if it is not in its folder. Where that is not there, is empty or cannot be read,
    as a mount point whose disk is not connected, the file is kept, unless the folder, or one above
    it, is in `below`. Raises CacheError for a cache that cannot be read.
    """
    with opened(path) as connection:
        paths = connection.execute(
            "SELECT path FROM (SELECT path FROM file UNION SELECT path FROM failure)"
            " WHERE typeof(path) = 'blob'"
        )
        # with a separator at the end: /album is not above /album2/cat.jpg
        folders = tuple(os.path.join(os.path.abspath(folder), "") for folder in below)
        known = [name for (one,) in paths if (name := os.fsdecode(one)).startswith(folders or "")]
        gone, kept = _gone_and_kept(known, is_named=bool(below))
        _list_gone(connection, gone)
        (n_embeddings,) = connection.execute(
            "SELECT COUNT(*) FROM embedding WHERE pixels NOT IN (SELECT pixels FROM pixels"
            " WHERE content IN (SELECT content FROM file WHERE path NOT IN gone))"
        ).fetchone()
        return Prunable(len(known), gone, n_embeddings, kept)


def forget(path: Path, gone: Sequence[str], is_named: bool = False) -> tuple[int, int]:
    """Forget files that `look` found gone and that still are, then what no file leads to.

    is_named: `look` was given their folders. Returns how many of each. Raises CacheError for a
    cache that cannot be read or written.
    """
    with opened(path) as connection:
        still_gone, _ = _gone_and_kept(gone, is_named)
        _list_gone(connection, still_gone)
        with transaction(connection):
            connection.execute("DELETE FROM file WHERE path IN gone")
            connection.execute("DELETE FROM failure WHERE path IN gone")
            connection.execute("DELETE FROM pixels WHERE content NOT IN (SELECT content FROM file)")
            for table, condition, _ in TORN:
                connection.execute(f"DELETE FROM {table} WHERE {condition}")
            n_embeddings = connection.execute(
                "DELETE FROM embedding WHERE pixels NOT IN (SELECT pixels FROM pixels)"
            ).rowcount
        connection.execute("VACUUM")
        return len(still_gone), n_embeddings


def _gone_and_kept(paths: Sequence[str], is_named: bool) -> tuple[list[str], Counter[str]]:
    gone: list[str] = []
    kept: Counter[str] = Counter()
    _is_away.cache_clear()  # a disk may have been connected since
    for path in paths:
        folder = os.path.dirname(path)
        try:
            os.lstat(path)
        except ValueError:  # damage: there is a NUL in it
            gone.append(path)
        except (FileNotFoundError, NotADirectoryError):
            if is_named or not _is_away(folder):
                gone.append(path)
            else:
                kept[_to_blame(folder)] += 1
        except OSError:  # no permission, a failing disk
            kept[_to_blame(folder)] += 1
    return gone, kept


@cache
def _is_away(folder: str) -> bool:
    """Whether there is nothing in it that could be seen."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _to_blame(folder: str) -> str:
    """The highest one: of a disk that is not connected its mount point, not folders on it."""
    while (above := os.path.dirname(folder)) != folder and _is_away(above):
        folder = above
    return folder


def _list_gone(connection: sqlite3.Connection, gone: Sequence[str]) -> None:
    connection.execute("CREATE TEMPORARY TABLE gone (path BLOB PRIMARY KEY) WITHOUT ROWID")
    connection.executemany("INSERT INTO gone VALUES (?)", ((os.fsencode(one),) for one in gone))
