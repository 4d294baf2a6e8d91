"""An evaluation's figures as tables of text, which a terminal and a page draw in their own ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipcli.evaluation.measure import Evaluation, paired_interval
from clipcli.evaluation.metrics import Interval
from clipcli.labels.templates import set_name

NO_LABEL = "no label"


@dataclass(frozen=True)
class Table:
    """Rows under the names of their columns; those of `numbers` stand to the right."""

    names: tuple[str, ...]
    rows: list[list[str]]
    numbers: tuple[int, ...] = ()


def overall(evaluation: Evaluation) -> Table:
    n = evaluation.n
    top_k = min(5, len(evaluation.per_label))
    return Table(
        ("accuracy", "", "95 % interval", "photographs"),
        [
            _accuracy("top-1", evaluation.top1, evaluation.interval, n),
            _accuracy(f"top-{top_k}", evaluation.top5, evaluation.top5_interval, n),
            ["mean recall", percent(evaluation.mean_recall), "", ""],
            [_macro_f1(evaluation), percent(evaluation.macro_f1), "", ""],
            *(_of_none(evaluation) if evaluation.n_no_label else ()),
            ["calibration error", percent(evaluation.ece), "", ""],
        ],
        numbers=(1, 2, 3),
    )


def _macro_f1(evaluation: Evaluation) -> str:
    """Its name, with how many labels it is the mean of, where that is not all of them."""
    n = sum(score.n > 0 for score in evaluation.per_label.values())
    return "macro F1" + (f" of {n:,} labels" if n < len(evaluation.per_label) else "")


def _of_none(evaluation: Evaluation) -> list[list[str]]:
    """Photographs without a label, and what else is then not the same as top-1."""
    n, n_none = evaluation.n, evaluation.n_no_label
    right = f"{round(evaluation.top1 * n):,} of {n - n_none:,}"
    return [
        [NO_LABEL, percent(n_none / n), "", f"{n_none:,} of {n:,}"],
        ["micro precision", percent(evaluation.micro_precision), "", right],
        ["micro F1", percent(evaluation.micro_f1), "", ""],
    ]


def of_labels(evaluation: Evaluation) -> Table:
    rows = [
        [
            *(name, f"{score.n:,}"),
            *(percent(score.precision), between(score.precision_interval)),
            *(percent(score.recall), between(score.recall_interval)),
            percent(score.f1),
        ]
        for name, score in evaluation.per_label.items()
    ]
    interval = "95 % interval"
    names = ("label", "n", "precision", interval, "recall", interval, "F1")
    return Table(names, rows, numbers=(1, 2, 3, 4, 5, 6))


def of_confusions(evaluation: Evaluation, n: int) -> Table:
    """The `n` that cost most, and how much of the top-1 accuracy."""
    rows = [
        [one.truth, one.predicted or NO_LABEL, f"{one.n:,}", percent(one.n / evaluation.n)]
        for one in evaluation.confusions[:n]
    ]
    return Table(("truth", "taken for", "n", "cost"), rows, numbers=(2, 3))


def comparison(evaluations: Sequence[Evaluation]) -> Table:
    """A row for each evaluation; its difference is to the first, in points of top-1."""
    first = evaluations[0]
    rows = []
    for number, one in enumerate(evaluations):
        row = [one.made_by.model, templates_name(one.made_by.templates)]
        row += [percent(one.top1), between(one.interval), "", "", percent(one.macro_f1)]
        if number:
            low, high = paired_interval(first, one)
            row[4] = f"{100 * (one.top1 - first.top1):+.1f}"
            row[5] = f"{100 * low:+.1f} to {100 * high:+.1f}"
        rows.append(row)
    interval = "95 % interval"
    names = ("model", "templates", "top-1", interval, "difference", interval, "macro F1")
    return Table(names, rows, numbers=(2, 3, 4, 5, 6))


def templates_name(templates: Sequence[str]) -> str:
    """A published set of several by its name, others by their first."""
    more = len(templates) - 1
    return set_name(templates) or f"{templates[0]!r}" + (f" and {more} more" if more else "")


def percent(share: float | None) -> str:
    """One decimal, or three for a share that one decimal would show as 0.0 %."""
    if share is None:
        return "-"
    return f"{100 * share:.3f} %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def between(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _accuracy(name: str, share: float, interval: Interval, n: int) -> list[str]:
    return [name, percent(share), between(interval), f"{round(share * n):,} of {n:,}"]
