"""Labelled photographs to figures: what `clipcli eval` measures. It never prints.

truth.read_truth -> Embedder.embed_photos -> judge -> measure -> page, JSON
Truth               Embedded                 JudgedPhoto   Evaluation

Photographs are embedded once for each model; each set of templates is then one `judge` and one
`measure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluation import metrics
from clipcli.evaluation.metrics import Bin, Interval
from clipcli.files.made_by import as_options
from clipcli.labelling import zero_shot
from clipcli.labelling.classifier import Classifier
from clipcli.records import Embedded, Failure, MadeBy, Prediction

TOP_K = 5
N_AT_ONCE = 1024  # photographs whose scores of all labels are in memory


@dataclass(frozen=True)
class JudgedPhoto:
    """A photograph, its true label, and its best labels, best first."""

    path: str
    truth: str
    predictions: tuple[Prediction, ...]

    @property
    def is_right(self) -> bool:
        return self.predictions[0].label == self.truth


@dataclass(frozen=True)
class LabelScore:
    """`recall` is None for a label without photographs, `precision` for one never answered."""

    n: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Confusion:
    """`n` photographs of `truth` were taken for `predicted`."""

    truth: str
    predicted: str
    n: int


@dataclass(frozen=True)
class Evaluation:
    """How often one classifier was right, in fractions.

    `interval` is top1's, `top5` is over the best min(5, n_labels); `confusions` begin with those
    that cost most; `matrix` int [n_labels, n_labels], truth by prediction, in the order of
    `per_label`.
    """

    made_by: MadeBy
    judged: list[JudgedPhoto]
    top1: float
    interval: Interval
    top5: float
    top5_interval: Interval
    mean_recall: float
    ece: float
    bins: list[Bin]
    per_label: dict[str, LabelScore]
    confusions: list[Confusion]
    matrix: NDArray[np.int64]

    @property
    def n(self) -> int:
        return len(self.judged)


def judge(
    embedded: Sequence[Embedded], truth: Mapping[str, str], classifier: Classifier
) -> list[JudgedPhoto]:
    """The best five labels of each photograph beside its true one.

    truth: path -> the name that the classifier has for its label.
    """
    judged = []
    for start in range(0, len(embedded), N_AT_ONCE):
        some = embedded[start : start + N_AT_ONCE]
        embeddings = np.stack([record.embedding for record in some])
        labelled = zero_shot.label_photos(embeddings, classifier, TOP_K)
        judged += [
            JudgedPhoto(record.path, truth[record.path], predictions)
            for record, predictions in zip(some, labelled, strict=True)
        ]
    return judged


def measure(judged: list[JudgedPhoto], names: Sequence[str], made_by: MadeBy) -> Evaluation:
    """All figures of one classifier. judged: at least one; names: all labels that it chose from."""
    index = {name: place for place, name in enumerate(names)}
    truth = np.array([index[one.truth] for one in judged])
    predicted = np.array([index[one.predictions[0].label] for one in judged])
    probabilities = np.array([one.predictions[0].probability for one in judged])
    matrix = metrics.confusion_matrix(truth, predicted, len(names))
    n_right = int(np.trace(matrix))
    n_in_top5 = sum(one.truth in [p.label for p in one.predictions] for one in judged)
    bins = metrics.reliability(probabilities, truth == predicted)
    return Evaluation(
        made_by=made_by,
        judged=judged,
        top1=n_right / len(judged),
        interval=metrics.wilson_interval(n_right, len(judged)),
        top5=n_in_top5 / len(judged),
        top5_interval=metrics.wilson_interval(n_in_top5, len(judged)),
        mean_recall=metrics.mean_recall(matrix),
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
    wrong = [one for one in evaluation.judged if not one.is_right]
    return sorted(wrong, key=lambda one: -one.predictions[0].probability)[:n]


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
    }


def _per_label(names: Sequence[str], matrix: NDArray[np.int64]) -> dict[str, LabelScore]:
    columns = zip(
        names,
        matrix.sum(axis=1).tolist(),
        metrics.precisions(matrix).tolist(),
        metrics.recalls(matrix).tolist(),
        strict=True,
    )
    return {
        name: LabelScore(n, _known(precision), _known(recall))
        for name, n, precision, recall in columns
    }


def _known(share: float) -> float | None:
    return None if np.isnan(share) else share


def _confusions(names: Sequence[str], matrix: NDArray[np.int64]) -> list[Confusion]:
    wrong = [
        Confusion(names[row], names[column], int(matrix[row, column]))
        for row, column in np.argwhere(matrix).tolist()
        if row != column
    ]
    return sorted(wrong, key=lambda confusion: -confusion.n)  # stable: then as labels stand
