"""Tables on stdout: plain text, the same in a terminal and in a pipe."""

from __future__ import annotations

import io
from typing import Literal

from rich.console import Console
from rich.table import Table as Drawn

from clipcli.errors import one_line
from clipcli.evaluation.tables import Table


def table_text(table: Table) -> str:
    """Columns under their names; letters that are two wide count as two."""
    drawn = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(table.names):
        justify: Literal["left", "right"] = "right" if place in table.numbers else "left"
        drawn.add_column(name.upper(), justify=justify, no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(one_line(cell) for cell in row))
    text = io.StringIO()
    # as wide as it takes: a terminal wraps, a pipe must not
    console = Console(
        file=text, width=100_000, color_system=None, markup=False, emoji=False, highlight=False
    )
    console.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
