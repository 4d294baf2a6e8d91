"""The pictures of an evaluation's page, as SVG text."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import one_line
from clipcli.evaluation.metrics import Bin

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


def confusion_picture(labels: Sequence[str], matrix: NDArray[np.int64]) -> str:
    """Truth by prediction, a square for each pair that occurred; labels as far as they fit.

    matrix: int [n_labels, n_labels], a row for each truth.
    """
    cell = min(LARGEST_CELL_PX, max(SMALLEST_CELL_PX, MATRIX_PX / len(labels)))
    step = max(1, int(np.ceil(LINE_PX / cell)))  # every so many labels there is room for one
    names = [_shortened(label) for label in labels]
    margin = 12 + LETTER_PX * max(len(name) for name in names[::step])
    side = cell * len(labels)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    parts = [f'<rect x="0" y="0" width="{side:.1f}" height="{side:.1f}" fill="#f4f4f4"/>']
    for row, column in np.argwhere(matrix).tolist():
        n = int(matrix[row, column])
        tip = f"{labels[row]} taken for {labels[column]}: {n} of {matrix[row].sum()}"
        opacity = 0.2 + 0.8 * float(np.sqrt(shares[row, column]))  # one of fifty is seen too
        mark = max(cell - (0.5 if cell > 4 else 0), SMALLEST_MARK_PX)
        shift = (cell - mark) / 2
        parts.append(
            f'<rect x="{column * cell + shift:.1f}" y="{row * cell + shift:.1f}"'
            f' width="{mark:.1f}" height="{mark:.1f}" fill="{RIGHT if row == column else WRONG}"'
            f' fill-opacity="{opacity:.2f}"><title>{_shown(tip)}</title></rect>'
        )
        if cell >= NUMBER_FROM_PX:
            parts.append(
                f'<text x="{(column + 0.5) * cell:.1f}" y="{(row + 0.5) * cell + 4:.1f}"'
                f' text-anchor="middle" pointer-events="none"'
                f' fill="{"#fff" if opacity > 0.6 else "#111"}">{n}</text>'
            )
    for place in range(0, len(labels), step):
        middle = (place + 0.5) * cell
        name = _shown(names[place])
        parts.append(f'<text x="-6" y="{middle + 4:.1f}" text-anchor="end">{name}</text>')
        parts.append(f'<text transform="translate({middle + 4:.1f} -6) rotate(-90)">{name}</text>')
    size = margin + side + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size:.0f}" height="{size:.0f}"'
        f' viewBox="{-margin:.1f} {-margin:.1f} {size:.1f} {size:.1f}" role="img"'
        f' aria-label="confusion matrix">\n' + "\n".join(parts) + "\n</svg>"
    )


def reliability_picture(bins: Sequence[Bin]) -> str:
    """A bar for each bin: as high as the share that was right, darker the more are in it."""
    side = RELIABILITY_PX
    most = max(one.n for one in bins)
    parts = [f'<rect x="0" y="0" width="{side}" height="{side}" fill="#f4f4f4"/>']
    for one in bins:
        height = one.share_right * side
        tip = (
            f"{one.n} answers with {100 * one.low:.0f} to {100 * one.high:.0f} %:"
            f" {100 * one.mean_probability:.1f} % said, {100 * one.share_right:.1f} % right"
        )
        parts.append(
            f'<rect x="{one.low * side + 0.5:.1f}" y="{side - height:.1f}"'
            f' width="{(one.high - one.low) * side - 1:.1f}" height="{height:.1f}" fill="{RIGHT}"'
            f' fill-opacity="{0.25 + 0.75 * one.n / most:.2f}"><title>{tip}</title></rect>'
        )
    parts.append(
        f'<line x1="0" y1="{side}" x2="{side}" y2="0" stroke="#111" stroke-dasharray="4 4"/>'
    )
    for tick in (0, 25, 50, 75, 100):
        at = side * tick / 100
        parts.append(f'<text x="{at:.0f}" y="{side + 16}" text-anchor="middle">{tick}</text>')
        parts.append(f'<text x="-6" y="{side - at + 4:.0f}" text-anchor="end">{tick}</text>')
    parts.append(f'<text x="{side / 2}" y="{side + 34}" text-anchor="middle">probability, %</text>')
    parts.append(
        f'<text transform="translate(-34 {side / 2}) rotate(-90)" text-anchor="middle">right, %'
        "</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side + 64}" height="{side + 50}"'
        f' viewBox="-48 -8 {side + 64} {side + 50}" role="img" aria-label="reliability diagram">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _shortened(label: str) -> str:
    return label if len(label) <= N_LETTERS else f"{label[: N_LETTERS - 1]}…"


def _shown(text: str) -> str:
    return html.escape(one_line(text))
