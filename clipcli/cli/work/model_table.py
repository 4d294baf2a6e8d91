"""The models, and which of them are on disk."""

from __future__ import annotations

from pathlib import Path

from clipcli.cli.work.tables import print_tables
from clipcli.files.table import Cell, Table, number, percent, words
from clipcli.files.table_text import TableFormat
from clipcli.models import catalogue

COLUMNS = (
    words("model"),
    number("size", "size_bytes"),
    number("input", "px"),
    number("ImageNet", "imagenet_top1"),
    words("on disk", "path"),  # for people yes or no: `models show` says where
)


def print_models(root: Path | None, format: TableFormat) -> None:
    """root: of the cache, where there is one."""
    lite = catalogue.lite_path()
    embedded = Cell("embedded", (str(lite),))
    rows = [_row(catalogue.LITE, lite.stat().st_size, 260, Cell("(card)", (None,)), embedded)]
    faint = set()
    for place, model in enumerate(catalogue.PUBLISHED, start=1):
        path = catalogue.path_on_disk(model, root)
        if path is None:
            faint.add(place)
        on_disk = Cell("no", (None,)) if path is None else Cell("yes", (str(path),))
        top1 = percent(round(model.imagenet_top1 / 100, 4))
        rows.append(_row(model.name, model.size_bytes, model.px, top1, on_disk))
    print_tables([Table(COLUMNS, rows, frozenset(faint))], format)


def _row(name: str, size_bytes: int, px: int, top1: Cell, on_disk: Cell) -> list[Cell | str]:
    size = Cell(f"{size_bytes / 1e6:,.0f} MB", (size_bytes,))
    return [name, size, Cell(f"{px} px", (px,)), top1, on_disk]
