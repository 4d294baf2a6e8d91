"""Labelled photographs to figures: what `clipcli eval` measures. It never prints.

truth.read_truth -> Embedder.embed_photos -> judge -> measure -> page, JSON, predictions
Truth               Embedded                 JudgedPhoto   Evaluation

Photographs are embedded once for each model; each set of templates is then one `judge` and one
`measure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluation import metrics
from clipcli.evaluation.judge import JudgedPhoto
from clipcli.evaluation.metrics import Bin, Interval
from clipcli.files.made_by import as_options
from clipcli.labelling.labeller import Labeller
from clipcli.records import Failure, MadeBy, Scoring


@dataclass(frozen=True)
class LabelScore:
    """`recall` is None for a label without photographs, `precision` for one never answered, `f1`
    for one that is neither. Intervals are Wilson's of 95 %. n_answered: how often it was given."""

    n: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None
    n_answered: int


@dataclass(frozen=True)
class Confusion:
    """`n` photographs of `truth` were taken for `predicted`, or got no label if that is None."""

    truth: str
    predicted: str | None
    n: int


@dataclass(frozen=True)
class Evaluation:
    """How often one classifier was right, in fractions.

    `interval` is top1's, `top5` is over the best min(5, n_labels); `mean_recall` and `macro_f1` are
    means over the labels that have photographs. `n_no_label` photographs got no label and are
    wrong: `micro_precision` (None where these are all) and `ece` and `bins` leave them out, and
    top1 is the micro recall; without such photographs all three micro figures are top1.
    `confusions` begin with those that cost most; `matrix` int [n_labels + 1, n_labels + 1], truth
    by prediction, in the order of `per_label`, and last no label.
    """

    made_by: MadeBy
    scoring: Scoring
    judged: list[JudgedPhoto]
    top1: float
    interval: Interval
    top5: float
    top5_interval: Interval
    mean_recall: float
    macro_f1: float
    micro_precision: float | None
    micro_f1: float
    n_no_label: int
    ece: float | None
    bins: list[Bin]
    per_label: dict[str, LabelScore]
    confusions: list[Confusion]
    matrix: NDArray[np.int64]

    @property
    def n(self) -> int:
        return len(self.judged)


def measure(judged: list[JudgedPhoto], labeller: Labeller) -> Evaluation:
    """All figures of one labeller. judged: what it said of at least one photograph."""
    names = labeller.names
    index = {name: place for place, name in enumerate(names)}
    truth = np.array([index[one.truth] for one in judged])
    predicted = np.array([index[one.best.label] if one.best else len(names) for one in judged])
    matrix = metrics.confusion_matrix(truth, predicted, len(names) + 1)
    n_right = int(np.trace(matrix))
    n_no_label = int(matrix[:, -1].sum())
    n_answered = len(judged) - n_no_label
    n_in_top5 = sum(one.truth in [p.label for p in one.predictions] for one in judged)
    probabilities = np.array([one.best.probability for one in judged if one.best])
    bins = metrics.reliability(probabilities, (truth == predicted)[predicted < len(names)])
    return Evaluation(
        made_by=labeller.made_by,
        scoring=labeller.scoring,
        judged=judged,
        top1=n_right / len(judged),
        interval=metrics.wilson_interval(n_right, len(judged)),
        top5=n_in_top5 / len(judged),
        top5_interval=metrics.wilson_interval(n_in_top5, len(judged)),
        mean_recall=metrics.mean_recall(matrix),
        macro_f1=metrics.macro_f1(matrix),
        micro_precision=n_right / n_answered if n_answered else None,
        micro_f1=2 * n_right / (n_answered + len(judged)),
        n_no_label=n_no_label,
        ece=metrics.expected_calibration_error(bins),
        bins=bins,
        per_label=_per_label(names, matrix),
        confusions=_confusions(names, matrix),
        matrix=matrix,
    )


def paired_interval(first: Evaluation, other: Evaluation) -> Interval:
    """95 % interval of other.top1 - first.top1, from the same photographs in the same order."""
    right, other_right = (np.array([one.is_right for one in e.judged]) for e in (first, other))
    return metrics.paired_interval(right, other_right)


def worst_mistakes(evaluation: Evaluation, n: int) -> list[JudgedPhoto]:
    """The wrong answers that were given with the highest probability."""
    wrong = [
        (one.best.probability, one) for one in evaluation.judged if one.best and not one.is_right
    ]
    return [one for _, one in sorted(wrong, key=lambda answer: -answer[0])[:n]]


def json_object(evaluations: Sequence[Evaluation], failed: Iterable[Failure]) -> dict[str, Any]:
    """The first evaluation, and in "compared" how the others differ from it."""
    first, *others = evaluations
    compared = [
        _figures(other)
        | {
            "difference": other.top1 - first.top1,
            "difference_interval": list(paired_interval(first, other)),
        }
        for other in others
    ]
    return {
        "n": first.n,
        **_figures(first),
        "per_label": {name: asdict(score) for name, score in first.per_label.items()},
        "confusions": [asdict(confusion) for confusion in first.confusions],
        "reliability": [asdict(one) for one in first.bins],
        **({"compared": compared} if compared else {}),
        "failed": [asdict(failure) for failure in failed],
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    made_by = evaluation.made_by
    return {
        "top1": evaluation.top1,
        "interval": list(evaluation.interval),
        "top5": evaluation.top5,
        "mean_recall": evaluation.mean_recall,
        "ece": evaluation.ece,
        "model": made_by.model,
        "fingerprint": made_by.fingerprint,
        "precision": made_by.precision,
        "preprocessing": as_options(made_by.preprocessing),
        "templates": list(made_by.templates),
        "macro_f1": evaluation.macro_f1,
        "micro_precision": evaluation.micro_precision,
        "micro_f1": evaluation.micro_f1,
        "n_no_label": evaluation.n_no_label,
        "scoring": evaluation.scoring,
        **{name: of for name in ("calibration", "probe") if (of := getattr(made_by, name))},
    }


def _per_label(names: Sequence[str], matrix: NDArray[np.int64]) -> dict[str, LabelScore]:
    """matrix: as in `Evaluation`."""
    counts = (matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
    shares = (metrics.precisions(matrix), metrics.recalls(matrix), metrics.f1s(matrix))
    columns = zip(
        names, *(column[: len(names)].tolist() for column in (*counts, *shares)), strict=True
    )
    return {
        name: LabelScore(
            n,
            _known(precision),
            _known(recall),
            _known(f1),
            precision_interval=_interval(n_right, n_answered),
            recall_interval=_interval(n_right, n),
            n_answered=n_answered,
        )
        for name, n_right, n, n_answered, precision, recall, f1 in columns
    }


def _known(share: float) -> float | None:
    return None if np.isnan(share) else share


def _interval(n_right: int, n: int) -> Interval | None:
    return metrics.wilson_interval(n_right, n) if n else None


def _confusions(names: Sequence[str], matrix: NDArray[np.int64]) -> list[Confusion]:
    answers = [*names, None]
    wrong = [
        Confusion(names[row], answers[column], int(matrix[row, column]))
        for row, column in np.argwhere(matrix).tolist()
        if row != column
    ]
    return sorted(wrong, key=lambda confusion: -confusion.n)  # stable: then as labels stand
