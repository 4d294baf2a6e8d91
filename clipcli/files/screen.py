"""What tables are drawn on, and how texts fit into its cells."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

MIN_WIDTH = 30  # a terminal that is narrower breaks the rows
BOLD, FAINT, PLAIN_AGAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Screen:
    """By default a file, or a pipe to nobody knows what. `width`: in cells, of which some letters
    take two, and some none."""

    width: int = 100
    has_colours: bool = False
    is_unicode: bool = True
    is_terminal: bool = False

    @classmethod
    def of_stdout(cls) -> Screen:
        """As NO_COLOR, FORCE_COLOR, TERM and COLUMNS say, and the terminal itself."""
        is_terminal = sys.stdout.isatty()
        is_asked_for = is_terminal or bool(os.environ.get("FORCE_COLOR"))
        is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
        is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        width = max(shutil.get_terminal_size().columns, MIN_WIDTH) if is_terminal else cls.width
        return cls(width, is_asked_for and not is_plain, is_unicode, is_terminal)


def n_cells(text: str) -> int:
    """How wide a terminal shows it."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # not at the top: `clipcli models` would wait for it

    return cell_len(text)


def cut_at_the_end(text: str, width: int) -> str:
    """`text` in at most `width` cells."""
    return text if n_cells(text) <= width else _beginning(text, width - 1) + "…"


def cut_in_the_middle(text: str, width: int) -> str:
    """`text` in at most `width` cells, with both its ends."""
    return text if n_cells(text) <= width else _cut(text, width, (width - 1) // 2)


def cut_path(path: str, width: int) -> str:
    """`path` in at most `width` cells, with the end of the file's name, and all of it if it can."""
    if n_cells(path) <= width:
        return path
    n_name = n_cells(os.path.basename(path)) + 1
    return _cut(path, width, min(max(n_name, width // 2), width - 4))


def _cut(text: str, width: int, n_end: int) -> str:
    end = _end(text, n_end)
    return f"{_beginning(text, width - 1 - n_cells(end))}…{end}"


def _beginning(text: str, width: int) -> str:
    """In exactly `width` cells: a blank takes the place of half a letter."""
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def _end(text: str, width: int) -> str:
    """The last letters, in at most `width` cells, none without what it is joined to."""
    start = len(text)
    while start and n_cells(text[start - 1 :]) <= width:
        start -= 1
    while start < len(text) and n_cells(text[start]) == 0:
        start += 1
    return text[start:]
