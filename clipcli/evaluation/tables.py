"""An evaluation's figures as tables, which a terminal, a page and a file draw in their own ways."""

from __future__ import annotations

from collections.abc import Sequence

from clipcli.evaluation.measure import Evaluation, paired_interval
from clipcli.evaluation.metrics import Bin, Interval
from clipcli.files.table import (
    Cell,
    Row,
    Table,
    between,
    count,
    number,
    part,
    percent,
    picture,
    points,
    points_between,
    words,
)
from clipcli.labels.templates import set_name

NO_LABEL = "no label"

BAR_WIDTH = 30
INTERVAL = "95 % interval"


def overall(evaluation: Evaluation) -> Table:
    n = evaluation.n
    top_k = min(5, len(evaluation.per_label))
    return Table(
        (
            words("accuracy", "figure"),
            number("", "value"),
            number(INTERVAL, "low", "high"),
            number("photographs", "n_right", "n"),
        ),
        [
            _accuracy(Cell("top-1", ("top1",)), evaluation.top1, evaluation.interval, n),
            _accuracy(
                Cell(f"top-{top_k}", ("top5",)), evaluation.top5, evaluation.top5_interval, n
            ),
            [Cell("mean recall", ("mean_recall",)), percent(evaluation.mean_recall), "", ""],
            [_macro_f1(evaluation), percent(evaluation.macro_f1), "", ""],
            *(_of_none(evaluation) if evaluation.n_no_label else ()),
            [Cell("calibration error", ("ece",)), percent(evaluation.ece), "", ""],
        ],
    )


def _macro_f1(evaluation: Evaluation) -> Cell:
    """Its name, with how many labels it is the mean of, where that is not all of them."""
    n = sum(score.n > 0 for score in evaluation.per_label.values())
    of = f" of {n:,} labels" if n < len(evaluation.per_label) else ""
    return Cell(f"macro F1{of}", ("macro_f1",))


def _of_none(evaluation: Evaluation) -> list[Row]:
    """Photographs without a label, and what else is then not the same as top-1."""
    n, n_none = evaluation.n, evaluation.n_no_label
    right = part(round(evaluation.top1 * n), n - n_none)
    return [
        [Cell(NO_LABEL, ("no_label",)), percent(n_none / n), "", part(n_none, n)],
        [
            Cell("micro precision", ("micro_precision",)),
            percent(evaluation.micro_precision),
            *("", right),
        ],
        [Cell("micro F1", ("micro_f1",)), percent(evaluation.micro_f1), "", ""],
    ]


def of_labels(evaluation: Evaluation) -> Table:
    rows: list[Row] = [
        [
            *(name, count(score.n)),
            *(percent(score.precision), between(score.precision_interval)),
            *(percent(score.recall), between(score.recall_interval)),
            percent(score.f1),
        ]
        for name, score in evaluation.per_label.items()
    ]
    columns = (
        *(words("label"), number("n")),
        *(number("precision"), number(INTERVAL, "precision_low", "precision_high")),
        *(number("recall"), number(INTERVAL, "recall_low", "recall_high")),
        number("F1", "f1"),
    )
    scores = evaluation.per_label.values()
    without = frozenset(place for place, score in enumerate(scores) if not score.n)
    return Table(columns, rows, faint=without)


def of_confusions(evaluation: Evaluation, n: int | None) -> Table:
    """The `n` that cost most, or all, and how much of the top-1 accuracy."""
    none = Cell(NO_LABEL, (None,))
    rows: list[Row] = [
        [one.truth, one.predicted or none, count(one.n), percent(one.n / evaluation.n)]
        for one in evaluation.confusions[:n]
    ]
    columns = (words("truth"), words("taken for", "predicted"), number("n"), number("cost"))
    return Table(columns, rows)


def comparison(evaluations: Sequence[Evaluation]) -> Table:
    """A row for each evaluation; its difference is to the first, in points of top-1."""
    first = evaluations[0]
    rows: list[Row] = []
    for place, one in enumerate(evaluations):
        templates = one.made_by.templates
        row: Row = [
            one.made_by.model,
            Cell(templates_name(templates), ("|".join(templates),)),  # as --compare takes them
            percent(one.top1),
            between(one.interval),
        ]
        if place:
            row += [points(one.top1 - first.top1), points_between(paired_interval(first, one))]
        else:
            row += ["", ""]
        rows.append([*row, percent(one.macro_f1)])
    columns = (
        words("model"),
        words("templates"),
        number("top-1", "top1"),
        number(INTERVAL, "low", "high"),
        number("difference"),
        number(INTERVAL, "difference_low", "difference_high"),
        number("macro F1", "macro_f1"),
    )
    return Table(columns, rows)


def of_reliability(bins: Sequence[Bin]) -> Table:
    """What the probabilities of the answers promised, what came of it, and a picture of both."""
    rows: list[Row] = [
        [
            Cell(f"{one.low:.2f} to {one.high:.2f}", (one.low, one.high)),
            count(one.n),
            percent(one.mean_probability),
            percent(one.share_right),
            _bar(one.mean_probability, one.share_right),
        ]
        for one in bins
    ]
    columns = (
        number("probability", "low", "high"),
        number("n"),
        number("said", "mean_probability"),
        number("right", "share_right"),
        picture(),
    )
    note = "█ right, as it said   ░ said, but not right   + right, more often than it said"
    return Table(columns, rows, note=note)


def templates_name(templates: Sequence[str]) -> str:
    """A published set of several by its name, others by their first."""
    more = len(templates) - 1
    return set_name(templates) or f"{templates[0]!r}" + (f" and {more} more" if more else "")


def _accuracy(name: Cell, share: float, interval: Interval, n: int) -> list[Cell | str]:
    return [name, percent(share), between(interval), part(round(share * n), n)]


def _bar(said: float, right: float) -> str:
    n_said, n_right = round(BAR_WIDTH * said), round(BAR_WIDTH * right)
    return "█" * min(n_said, n_right) + "░" * (n_said - n_right) + "+" * (n_right - n_said)
