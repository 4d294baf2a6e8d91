"""How often answers are right, and how far their probabilities can be trusted. numpy alone.

truth and predicted are label indices, int [n]; `right` is bool [n]. All sums are in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054  # of the normal distribution, two-sided
N_BINS = 15  # of equal width, as in Guo et al. 2017

Indices = NDArray[np.int64]
Right = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """The two ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Answers whose probabilities lie in (low, high]: how many, their mean, the share right."""

    low: float
    high: float
    n: int
    mean_probability: float
    share_right: float


def wilson_interval(n_right: int, n: int) -> Interval:
    """95 % interval of a share (Wilson 1927), which stays between 0 and 1 near the ends too."""
    share = n_right / n
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    return Interval(max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def paired_interval(right: Right, other_right: Right) -> Interval:
    """95 % interval of `other`'s accuracy less the first's, on the same photographs.

    Agresti and Min 2005 (Statistics in Medicine 24): Wald's interval for matched pairs with half
    a photograph added to each of the four outcomes. Unlike the bootstrap's it has some width
    where the two never differ, and it needs no seed.
    """
    n = len(right) + 2
    n_gained = int((other_right & ~right).sum()) + 0.5
    n_lost = int((right & ~other_right).sum()) + 0.5
    difference = (n_gained - n_lost) / n
    half = Z_95 * sqrt((n_gained + n_lost) / n - difference**2) / sqrt(n)
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


def confusion_matrix(truth: Indices, predicted: Indices, n_labels: int) -> Indices:
    """How many of the photographs of label i were taken for label j: int [n_labels, n_labels]."""
    flat = np.bincount(truth * n_labels + predicted, minlength=n_labels**2)
    return flat.reshape(n_labels, n_labels).astype(np.int64)


def recalls(confusion: Indices) -> Floats:
    """The share of each label's photographs that were recognised; nan where there are none."""
    return _shares(confusion.diagonal(), confusion.sum(axis=1))


def precisions(confusion: Indices) -> Floats:
    """The share of each label's answers that were right; nan where it was never the answer."""
    return _shares(confusion.diagonal(), confusion.sum(axis=0))


def f1s(confusion: Indices) -> Floats:
    """The harmonic mean of each label's precision and recall: 0 where it has photographs or answers
    and none of them right, nan where it has neither."""
    return _shares(2 * confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1))


def macro_f1(confusion: Indices) -> float:
    """The mean F1 of labels that have photographs, the same as of `mean_recall`."""
    return float(f1s(confusion)[confusion.sum(axis=1) > 0].mean())


def mean_recall(confusion: Indices) -> float:
    """The mean over labels that have photographs: each counts alike, however many it has."""
    return float(np.nanmean(recalls(confusion)))


def reliability(probabilities: Floats, right: Right) -> list[Bin]:
    """What the probabilities of the answers promised and what came of it, in bins of equal width.

    Empty bins are left out. Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    edges = np.arange(N_BINS + 1) / N_BINS
    places = np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, N_BINS - 1)
    bins = []
    for place in range(N_BINS):
        is_in = places == place
        if is_in.any():
            low, high = float(edges[place]), float(edges[place + 1])
            said, true = float(probabilities[is_in].mean()), float(right[is_in].mean())
            bins.append(Bin(low, high, int(is_in.sum()), said, true))
    return bins


def expected_calibration_error(bins: list[Bin]) -> float | None:
    """Mean distance between promise and outcome, each bin weighing as many as are in it; None where
    nothing was answered."""
    n = sum(one.n for one in bins)
    if not n:
        return None
    return sum(one.n * abs(one.share_right - one.mean_probability) for one in bins) / n


def _shares(parts: Indices, wholes: Indices) -> Floats:
    shares: Floats = np.full(len(wholes), np.nan)
    np.divide(parts, wholes, out=shares, where=wholes > 0)
    return shares
