"""Tables to text: columns that fit a width for people, CSV for programs, LaTeX for papers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from clipcli.errors import one_line
from clipcli.files.rows import csv_line
from clipcli.files.screen import (
    BOLD,
    FAINT,
    PLAIN_AGAIN,
    Screen,
    cut_in_the_middle,
    cut_path,
    n_cells,
)
from clipcli.files.table import Cell, Column, Table, Value

TableFormat = Literal["table", "csv", "latex"]

GAP = 2  # blanks between columns
MIN_WIDTH = 5  # of a column that is shortened

_WITHOUT_UNICODE = str.maketrans("…█░", "~#-")
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{character: f"{{{character}}}" for character in "[*"},  # after \\ they are its options
    }
)


def drawn(table: Table, screen: Screen) -> str:
    """Columns under their names. Where they are wider than the screen, pictures are left out, then
    the widest texts lose their middle; numbers stay whole."""
    rows = [[one_line(str(cell)) for cell in row] for row in table.rows]
    names = [column.name.upper() for column in table.columns]
    widths = [max(map(n_cells, cells)) for cells in zip(names, *rows, strict=True)]
    places = list(range(len(names)))
    if _too_wide(widths, screen.width) > 0:
        places = [place for place in places if table.columns[place].fields]
    widths = _fitted(
        [widths[place] for place in places],
        [not table.columns[place].is_number for place in places],
        screen.width,
    )

    def line(cells: Sequence[str], style: str = "") -> str:
        padded = [
            _padded(cells[place], width, table.columns[place].is_number)
            for place, width in zip(places, widths, strict=True)
        ]
        text = (" " * GAP).join(padded).rstrip()
        return f"{style}{text}{PLAIN_AGAIN}\n" if style and screen.has_colours else f"{text}\n"

    styles = [FAINT if place in table.faint else "" for place in range(len(rows))]
    text = line(names, BOLD) + "".join(map(line, rows, styles))
    if table.note and len(places) == len(names):  # a legend goes with its picture
        text += f"{table.note}\n"
    return text if screen.is_unicode else text.translate(_WITHOUT_UNICODE)


def csv_text(table: Table, is_terminal: bool = False) -> str:
    """A header and rows: numbers as numbers, two columns for an interval."""
    fields: list[Value] = [field for column in table.columns for field in column.fields]
    rows = [
        [
            value
            for cell, column in zip(row, table.columns, strict=True)
            for value in _values(cell, column)
        ]
        for row in table.rows
    ]
    return "".join(csv_line(row, is_terminal) for row in (fields, *rows))


def latex_text(table: Table) -> str:
    """A tabular with the rules of booktabs; pictures are left out."""
    places = [place for place, column in enumerate(table.columns) if column.fields]
    columns = [table.columns[place] for place in places]
    spec = "".join("r" if column.is_number else "l" for column in columns)

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(cells)} \\\\\n"

    head = line([_latex(column.name[:1].upper() + column.name[1:]) for column in columns])
    rows = [
        line([_latex(str(row[place]), table.columns[place].is_number) for place in places])
        for row in table.rows
    ]
    return (
        f"\\begin{{tabular}}{{{spec}}}\n\\toprule\n{head}\\midrule\n{''.join(rows)}\\bottomrule\n"
        f"\\end{{tabular}}\n"
    )


def _padded(text: str, width: int, is_number: bool) -> str:
    if not is_number:
        text = cut_path(text, width) if "/" in text else cut_in_the_middle(text, width)
    blank = " " * (width - n_cells(text))
    return blank + text if is_number else text + blank


def _too_wide(widths: Sequence[int], width: int) -> int:
    return sum(widths) + GAP * (len(widths) - 1) - width


def _fitted(widths: list[int], may_shrink: Sequence[bool], width: int) -> list[int]:
    """The widest that may shrink do so first; what is then still too wide, a terminal breaks."""
    for _ in range(_too_wide(widths, width)):
        widest = max(range(len(widths)), key=lambda place: may_shrink[place] * widths[place])
        if not may_shrink[widest] or widths[widest] <= MIN_WIDTH:
            break
        widths[widest] -= 1
    return widths


def _values(cell: Cell | str, column: Column) -> Sequence[Value]:
    values = cell.values if isinstance(cell, Cell) else (cell,)
    missing = ("",) * (len(column.fields) - len(values))
    return ["" if value is None else value for value in (*values, *missing)][: len(column.fields)]


def _latex(text: str, is_number: bool = False) -> str:
    text = one_line(text).translate(_LATEX)
    if is_number:  # a dash alone is no number, any other is a minus
        return "--" if text == "-" else text.replace("-", "$-$")
    return text
