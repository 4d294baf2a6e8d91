"""A table as data: what a person reads in each cell, and beside it the numbers that CSV holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Value = str | int | float | None


@dataclass(frozen=True)
class Cell:
    """What is read, and the values that CSV has in its place, one for each field of the column."""

    text: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return self.text


Row = list[Cell | str]


@dataclass(frozen=True)
class Column:
    """`name` is read above it; `fields` are its columns in CSV. One without any is a picture, which
    is left out where there is no room for it. Numbers stand to the right and are never shortened.
    """

    name: str
    fields: tuple[str, ...]
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under columns. A text is its own value, and an empty one that of every field. `faint`:
    rows that matter less, by their places; `note`: a line below, for people."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    faint: frozenset[int] = frozenset()
    note: str = ""


def words(name: str, field: str | None = None) -> Column:
    return Column(name, (field or name,))


def number(name: str, *fields: str) -> Column:
    return Column(name, fields or (name,), is_number=True)


def picture(name: str = "") -> Column:
    return Column(name, ())


def count(n: int) -> Cell:
    return Cell(f"{n:,}", (n,))


def part(n: int, n_all: int) -> Cell:
    return Cell(f"{n:,} of {n_all:,}", (n, n_all))


def fixed(value: float, n_decimals: int) -> Cell:
    """A number with so many decimals, which in CSV has all of them."""
    return Cell(f"{value:.{n_decimals}f}", (value,))


def percent(share: float | None) -> Cell:
    """One decimal, or three for a share that one decimal would show as 0.0 %."""
    if share is None:
        return Cell("-", (None,))
    return Cell(f"{100 * share:.{3 if 0 < share < 0.0005 else 1}f} %", (share,))


def between(interval: tuple[float, float] | None) -> Cell:
    """The two ends of an interval of shares, in percent."""
    if interval is None:
        return Cell("", (None, None))
    low, high = interval
    return Cell(f"{100 * low:.1f} to {100 * high:.1f}", (low, high))


def points(difference: float) -> Cell:
    """How much larger one share is than another, in points of a hundred."""
    return Cell(f"{100 * difference:+.1f}", (difference,))


def points_between(interval: tuple[float, float]) -> Cell:
    low, high = interval
    return Cell(f"{100 * low:+.1f} to {100 * high:+.1f}", (low, high))
