"""The models, and which of them are on disk."""

from __future__ import annotations

from pathlib import Path

from clipcli.cli.work.model_facts import others_on_disk, place
from clipcli.cli.work.tables import print_tables
from clipcli.errors import one_line
from clipcli.files.table import Cell, Table, number, percent, words
from clipcli.files.table_text import TableFormat
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.known_models import (
    ON_HUB,
    OPEN_CLIP,
    PE_CORE,
    PUBLISHED,
    SIGLIP_2,
    TINY_CLIP,
    KnownModel,
    size_text,
)

COLUMNS = (
    words("model"),
    number("params", "n_parameters"),
    number("file", "size_bytes"),
    number("input", "px"),
    number("ImageNet", "imagenet_top1"),
    words("", "imagenet_source"),
    words("texts", "languages"),
    words("licence"),
    words("best for", "best_for"),
    words("disk", "path"),  # for people yes or no: `models show` says where
)
MARKS = {OPEN_CLIP: "", SIGLIP_2: "a", PE_CORE: "b", TINY_CLIP: "c"}  # who measured ImageNet


def print_models(root: Path | None, format: TableFormat) -> None:
    """root: of the cache, where there is one."""
    known = (*PUBLISHED, *ON_HUB)
    paths = [place(model.name, root) for model in known]
    rows = [_lite(), *(_row(model, path) for model, path in zip(known, paths, strict=True))]
    faint = frozenset(at for at, path in enumerate(paths, start=1) if path is None)
    print_tables([Table(COLUMNS, rows, faint), _notes(root)], format)


def _lite() -> list[Cell | str]:
    path = catalogue.lite_path()
    size_bytes = path.stat().st_size
    return [
        catalogue.LITE,
        Cell("22 M", (22_000_000,)),
        Cell(size_text(size_bytes), (size_bytes,)),
        Cell("260 px", (260,)),
        Cell("(card)", (None,)),
        *("", "en", "(card)", "no download"),
        Cell("yes", (str(path),)),
    ]


def _row(model: KnownModel, path: Path | None) -> list[Cell | str]:
    return [
        model.name,
        Cell(f"{model.n_parameters / 1e6:,.0f} M", (model.n_parameters,)),
        Cell(model.size, (model.size_bytes,)),
        Cell(f"{model.px} px", (model.px,)),
        percent(round(model.imagenet_top1 / 100, 4)),
        Cell(MARKS[model.imagenet_source], (model.imagenet_source,)),
        *(model.languages, model.licence, model.best_for),
        Cell("no", (None,)) if path is None else Cell("yes", (str(path),)),
    ]


def _notes(root: Path | None) -> str:
    """The sources of the figures, and what else is on disk."""
    lines = [f"ImageNet: zero-shot top-1 by {OPEN_CLIP}"]
    lines += [f"          {mark} by {source}" for source, mark in MARKS.items() if mark]
    lines += [
        f"on disk   {one_line(name)}, {size_text(size)}" for name, size in others_on_disk(root)
    ]
    return "".join(f"{line}\n" for line in lines)
