"""Tables on stdout or in a file, with what is said between them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from clipcli.errors import one_line
from clipcli.files.screen import Screen
from clipcli.files.stdout import Stdout
from clipcli.files.table import Table
from clipcli.files.table_text import TableFormat, csv_text, drawn, latex_text
from clipcli.files.terminal import shown


def print_tables(parts: Sequence[Table | str], format: TableFormat = "table") -> None:
    """Tables and lines of talk, with a blank line between them. A terminal gets them in its width
    and with its colours, a pipe 100 wide."""
    with Stdout(is_shown=True) as stdout:
        screen = Screen.of_stdout()
        stdout.write(tables_text(parts, format, screen).encode("utf-8", "surrogateescape"))


def tables_text(parts: Sequence[Table | str], format: TableFormat, screen: Screen) -> str:
    """CSV holds the tables alone; LaTeX has the talk as comments."""
    match format:
        case "table":
            texts = [
                drawn(part, screen) if isinstance(part, Table) else _talk(part, screen)
                for part in parts
            ]
        case "csv":
            tables = [part for part in parts if isinstance(part, Table)]
            texts = [csv_text(table, screen.is_terminal) for table in tables]
        case "latex":
            texts = ["% \\usepackage{booktabs}\n"]
            for part in parts:
                texts.append(latex_text(part) if isinstance(part, Table) else _comment(part))
    return "\n".join(texts)


def _talk(text: str, screen: Screen) -> str:
    """A terminal would break lines within words."""
    if not screen.is_terminal:
        return text
    lines = shown(text.encode("utf-8", "surrogateescape")).decode().splitlines()
    return "".join(f"{_broken(line, screen.width)}\n" for line in lines)


def _broken(line: str, width: int) -> str:
    return textwrap.fill(
        line,
        width,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )


def _comment(text: str) -> str:
    return "".join(f"% {one_line(line)}\n" for line in text.splitlines())
