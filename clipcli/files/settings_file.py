"""`clipcli.toml`: settings as TOML, from a file that may be anybody's."""

from __future__ import annotations

import os
import stat
from typing import Any

from clipcli.errors import UsageError

NAME = "clipcli.toml"
MAX_BYTES = 1_000_000
MAX_DOTS = 100  # in a line; to read a key of 30,000 parts would take 20 s


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and tables of a file, none where there is no file.

    Raises UsageError for what is no regular file of TOML of at most MAX_BYTES.
    """
    if not os.path.exists(path):  # False too in a home that may not be looked into
        return {}
    import tomllib  # most runs have no such file

    try:
        text = regular_text(path)
        if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
            raise ValueError(f"a line of more than {MAX_DOTS} dots")
        return tomllib.loads(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: {reason}; expected a file of TOML") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deep; expected a file of TOML") from error


def regular_text(path: str | os.PathLike[str]) -> str:
    """The text of a file. Raises ValueError for a pipe, a device or more than MAX_BYTES, of which
    nothing is read; opening a pipe would wait for whoever writes into it."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("no regular file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # Windows has none
    with open(os.open(path, flags), "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return content.decode("utf-8-sig")  # some editors begin a file with a mark
