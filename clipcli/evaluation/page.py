"""An evaluation as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from clipcli.errors import PhotoError, one_line
from clipcli.evaluation import tables
from clipcli.evaluation.judge import JudgedPhoto
from clipcli.evaluation.measure import Evaluation, worst_mistakes
from clipcli.evaluation.metrics import Bin
from clipcli.files.made_by import as_options
from clipcli.files.table import percent
from clipcli.photos.open_picture import (
    decoded,
    open_photo,
    open_picture,
    scale_while_decoding,
)
from clipcli.photos.upright import upright
from clipcli.records import MadeBy

N_MISTAKES = 24
N_CONFUSIONS = 12
THUMBNAIL_PX = 200
JPEG_QUALITY = 80
MATRIX_PX = 960.0  # as wide as the cells of many labels become
LARGEST_CELL_PX = 44.0
SMALLEST_CELL_PX = 1.0
SMALLEST_MARK_PX = 3.0  # what is smaller cannot be seen
NUMBER_FROM_PX = 20.0  # cells of this size hold their number
LINE_PX = 13.0  # a label's own height
LETTER_PX = 6.6
N_LETTERS = 26
RIGHT, WRONG = "#1d4ed8", "#c81e1e"
RELIABILITY_PX = 320


def page(evaluations: Sequence[Evaluation]) -> str:
    """The first evaluation in full, and in a table how the others differ from it."""
    first = evaluations[0]
    answers = [*first.per_label, *([tables.NO_LABEL] if first.n_no_label else ())]
    return _filled(
        "page.html",
        made_by=first.made_by,
        preprocessing=as_options(first.made_by.preprocessing),
        templates=", ".join(map(repr, first.made_by.templates)),
        taught_by=_taught_by(first.made_by),
        n_photos=f"{first.n:,}",
        n_labels=f"{len(first.per_label):,}",
        overall=tables.overall(first),
        comparison=tables.comparison(evaluations) if len(evaluations) > 1 else None,
        labels=tables.of_labels(first),
        confusions=tables.of_confusions(first, N_CONFUSIONS),
        confusion_picture=confusion_picture(answers, first.matrix[: len(answers), : len(answers)]),
        reliability_picture=reliability_picture(first.bins),
        mistakes=[_mistake(one) for one in worst_mistakes(first, N_MISTAKES)],
    )


def _taught_by(made_by: MadeBy) -> str:
    """The calibration or the probe that gave the labels; empty where words alone did."""
    if made_by.probe:
        return f"Probe: SHA-256 {made_by.probe}"
    return f"Calibration: SHA-256 {made_by.calibration}" if made_by.calibration else ""


def _mistake(one: JudgedPhoto) -> dict[str, str]:
    best = one.predictions[0]  # a mistake has one
    return {
        "path": one.path,
        "truth": one.truth,
        "label": best.label,
        "probability": str(percent(best.probability)),
        "jpeg_base64": base64.b64encode(thumbnail(one.path) or b"").decode(),
    }


def thumbnail(path: str) -> bytes | None:
    """A small JPEG of a photograph, turned as its EXIF says; None if it can no longer be read."""
    try:
        with open_photo(path) as file, open_picture(file, path) as picture:
            scale_while_decoding(picture, 2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX)
            with decoded(picture, file):
                seen = upright(picture)
                scale = min(1.0, THUMBNAIL_PX / max(seen.size))
                width, height = (max(1, round(side * scale)) for side in seen.size)
                small = seen.resize((width, height), Image.Resampling.BICUBIC)
            stored = io.BytesIO()
            # without the metadata, which may say where the photograph was taken
            Image.frombytes("RGB", small.size, small.tobytes()).save(
                stored, "JPEG", quality=JPEG_QUALITY
            )
            return stored.getvalue()
    except PhotoError:  # it could be read a moment ago; the page is written without it
        return None


def confusion_picture(labels: Sequence[str], matrix: NDArray[np.int64]) -> Markup:
    """Truth by prediction, a square for each pair that occurred; labels as far as they fit.

    matrix: int [n_labels, n_labels], a row for each truth.
    """
    cell_px = min(LARGEST_CELL_PX, max(SMALLEST_CELL_PX, MATRIX_PX / len(labels)))
    step = max(1, int(np.ceil(LINE_PX / cell_px)))  # every so many labels there is room for one
    names = [(place, _shortened(labels[place])) for place in range(0, len(labels), step)]
    margin = 12 + LETTER_PX * max(len(name) for _, name in names)
    side = cell_px * len(labels)
    mark_px = max(cell_px - (0.5 if cell_px > 4 else 0), SMALLEST_MARK_PX)
    n_of_truth = matrix.sum(axis=1)
    marks = [
        {
            "row": row,
            "column": column,
            "n": matrix[row, column],
            "n_of_truth": n_of_truth[row],
            # so that one of fifty is seen too
            "opacity": 0.2 + 0.8 * float(matrix[row, column] / n_of_truth[row]) ** 0.5,
        }
        for row, column in np.argwhere(matrix).tolist()
    ]
    return _filled(
        "confusion.svg",
        labels=labels,
        names=names,
        marks=marks,
        cell_px=cell_px,
        mark_px=mark_px,
        shift=(cell_px - mark_px) / 2,
        has_numbers=cell_px >= NUMBER_FROM_PX,
        side=side,
        margin=margin,
        size=margin + side + 4,
        right=RIGHT,
        wrong=WRONG,
    )


def reliability_picture(bins: Sequence[Bin]) -> Markup:
    """A bar for each bin: as high as the share that was right, darker the more are in it."""
    return _filled(
        "reliability.svg",
        bins=bins,
        most=max((one.n for one in bins), default=0),
        side=RELIABILITY_PX,
        colour=RIGHT,
    )


def _shortened(label: str) -> str:
    return label if len(label) <= N_LETTERS else f"{label[: N_LETTERS - 1]}…"


def _filled(template: str, **values: Any) -> Markup:
    """A template of this folder with its values; it may be a value of another template."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def _printable(value: Any) -> str:
    """Every value passes through here on its way into a template, and then is escaped: it is read
    as text and never becomes a tag.

    `Markup` is what a template has made: it has passed through already.
    """
    return value if isinstance(value, Markup) else one_line(str(value))


_ENVIRONMENT = Environment(
    loader=PackageLoader("clipcli.evaluation", ""),
    autoescape=True,
    finalize=_printable,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["fixed"] = lambda number, n_decimals: f"{number:.{n_decimals}f}"
