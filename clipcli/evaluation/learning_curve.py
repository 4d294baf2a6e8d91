"""How much each photograph more teaches: a probe against zero-shot, on photographs left over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluation.metrics import Z_95, Interval, wilson_interval
from clipcli.labelling import probe_fit
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.probe_fit import Indices
from clipcli.models.score import Floats


@dataclass(frozen=True)
class Point:
    """Accuracies as fractions, over all splits; gain is the probe's less zero-shot's.

    The intervals are 95 %, for other photographs of the same kind. Each photograph counts once:
    with the share of its tests, one in each split that did not teach it, in which it was right.
    """

    shots: int
    probe: float
    probe_interval: Interval
    zero_shot: float
    zero_shot_interval: Interval
    gain: float
    gain_interval: Interval


def most_shots(truth: Indices) -> int:
    """How many of each label can be taught while one is left to test; labels without photographs
    do not count."""
    counts = np.bincount(truth)
    return int(counts[counts > 0].min()) - 1


def learning_curve(
    embeddings: NDArray[np.float32],
    truth: Indices,
    classifier: Classifier,
    shots: Sequence[int],
    n_splits: int,
    seed: int,
) -> Iterator[Point]:
    """Fit on `shots` photographs of each label drawn at random, test on the rest, n_splits times.

    embeddings: float32 [n, d]; truth: int [n]. `shots` are at most `most_shots(truth)`.
    """
    x = embeddings.astype(np.float64)
    zero_right = classifier.label_logits(embeddings).argmax(axis=1) == truth
    for n_shots in shots:
        random = np.random.default_rng(seed)  # a split's photographs are the next one's too
        n_tested = np.zeros(len(truth))
        n_right = np.zeros(len(truth))
        for _ in range(n_splits):
            taught = _draw(truth, n_shots, random)
            weights = probe_fit.fit(embeddings[taught], truth[taught], classifier).weights
            left = np.setdiff1d(np.arange(len(truth)), taught)
            answers = (x[left] @ weights.T).argmax(axis=1)
            n_tested[left] += 1
            n_right[left] += answers == truth[left]
        yield _point(n_shots, n_right, n_tested, zero_right)


def _draw(truth: Indices, n_shots: int, random: np.random.Generator) -> Indices:
    """Photographs to teach: `n_shots` of each label. With the same generator, more shots are
    those of fewer shots and some others."""
    return np.concatenate(
        [random.permutation(np.flatnonzero(truth == label))[:n_shots] for label in np.unique(truth)]
    )


def _point(n_shots: int, n_right: Floats, n_tested: Floats, zero_right: NDArray[np.bool_]) -> Point:
    was_tested = n_tested > 0
    n = int(was_tested.sum())
    weights = n_tested[was_tested] / n_tested.sum()
    right = n_right[was_tested] / n_tested[was_tested]  # share of its splits, of each photograph
    gains = right - zero_right[was_tested]
    accuracy = float(weights @ right)
    zero_shot = float(weights @ zero_right[was_tested])
    gain = accuracy - zero_shot
    half = Z_95 * float(np.sqrt((weights**2) @ (gains - gain) ** 2))
    return Point(
        n_shots,
        accuracy,
        wilson_interval(round(accuracy * n), n),
        zero_shot,
        wilson_interval(round(zero_shot * n), n),
        gain,
        Interval(gain - half, gain + half),
    )
