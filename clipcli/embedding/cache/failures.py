"""What goes wrong with the cache's file, in words, and what the user can do about it."""

from __future__ import annotations

import errno
import sqlite3

from clipcli.embedding.cache.schema import NewerCacheError
from clipcli.errors import one_line

# SQLite's messages hold names out of the file, which need not be UTF-8
FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

_CLOSED = "see that it can be read and written, or name another folder with --cache-dir"
_HELD = "another program holds it; try again when that has ended"
_ADVICE = {
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_IOERR: "see whether its disk is full or failing",
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_NOTADB: "clipcli cache clear starts anew",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def described(error: Exception) -> str:
    """What was found, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return one_line(error.object.decode(errors="replace"))
    expected = "; expected a cache of embeddings" if _code(error) == sqlite3.SQLITE_NOTADB else ""
    return one_line(f"{error}{expected}")


def advice(error: Exception, otherwise: str = "clipcli cache repair saves what it can") -> str:
    """What to do, in a few words; `otherwise`: about a file that is damaged."""
    if isinstance(error, NewerCacheError):
        return "update clipcli"
    return _ADVICE.get(_code(error), otherwise)


def _code(error: Exception) -> int:
    """SQLite's primary result code, or the one that an error of the system is most like."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in _FULL else sqlite3.SQLITE_CANTOPEN
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
