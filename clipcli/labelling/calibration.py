"""Thresholds and temperatures from a few labelled photographs; `calibration_file` keeps them.

Each label's probability is a logistic regression on its contrast (`multi_label.contrasts`): Platt
scaling (Platt, "Probabilistic outputs for support vector machines", 1999). A dozen photographs
of a label say little, so its fit is drawn towards one that all labels share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.multi_label import (
    DEFAULT_MIN_PROBABILITY,
    MultiLabelClassifier,
    Thresholds,
    contrasts,
    probabilities,
)
from clipcli.models.score import Floats, sigmoid

N_FOLDS = 5
# Of photographs that do show a label, how many may be called unknown. A person can look through a
# tenth; with less, most photographs of something else would get a label.
KNOWN_REJECTED_SHARE = 0.1
PRIOR_PRECISION = 1.0  # a label's coefficients are expected within about 1 of the shared ones
MAX_STEPS = 100
SMALL_STEP = 1e-9


@dataclass(frozen=True)
class Examples:
    """Pictures of which is known what they show.

    embeddings: unit float32 [n, d]; shows: bool [n, n_labels]; folds: int64 [n], which are held
    out together where the fit is measured.
    """

    embeddings: NDArray[np.float32]
    shows: NDArray[np.bool_]
    folds: NDArray[np.int64]


@dataclass(frozen=True)
class Rates:
    """Measured on pictures that were held out of the fit; a share of nothing is None.

    wrong_accepts: of the labels that a picture does not show, those that it was given;
    wrong_rejects: of those that it shows, those that it was not.
    """

    wrong_accepts: float | None
    wrong_rejects: float | None


@dataclass(frozen=True)
class HeldOutRates:
    """How a calibration does on what it was not fitted to.

    alone: on photographs of one label; in_pairs: on two side by side, None if there were none;
    per_label: on both. known_rejected: share of photographs that show a label and would be
    called unknown; strangers_accepted: share of the photographs of a label that would not be,
    once that label is left out.
    """

    n_photos: int
    n_pairs: int
    alone: Rates
    in_pairs: Rates | None
    per_label: tuple[Rates, ...]
    known_rejected: float
    strangers_accepted: float | None


def stratified_folds(
    labels: NDArray[np.int64], n_folds: int = N_FOLDS, seed: int = 0
) -> NDArray[np.int64]:
    """A fold for each photograph, int64 [n], as even over labels and folds as can be.

    labels: int64 [n]. The folds of a seed are the same every time.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_label] = np.arange(len(labels)) % n_folds
    return folds


def fit(classifier: Classifier, backgrounds: NDArray[np.float32], *parts: Examples) -> Thresholds:
    """Thresholds and temperatures for a classifier's labels.

    backgrounds: unit float32 [n_backgrounds, d]; parts: photographs of one label each, then if
    there are any those of two. A label that is there weighs as much as one that is not, so that 0.5
    stands for even odds. Raises UsageError if cosines tell nothing about the labels.
    """
    margins = np.concatenate(
        [contrasts(part.embeddings, classifier, backgrounds) for part in parts]
    )
    shows = np.concatenate([part.shows for part in parts])
    # in standard units, so that the prior means the same for every model
    mean, spread = margins.mean(), max(margins.std(), 1e-9)
    standard = (margins - mean) / spread
    weights = np.stack([_balanced(column) for column in shows.T], axis=1)
    flat = _inputs(standard.ravel())
    shared = _logistic(flat, shows.ravel(), weights.ravel(), prior=np.zeros(2))
    if shared[1] <= 0:
        raise UsageError(
            "the photographs are no nearer to their own labels than to others; check the labels,"
            " or choose another --model"
        )
    lines = np.stack(
        [_line(*columns, shared) for columns in zip(standard.T, shows.T, weights.T, strict=True)]
    )
    intercepts, slopes = lines.T
    best = classifier.label_cosines(parts[0].embeddings).max(axis=1)
    return Thresholds(mean - spread * intercepts / slopes, spread / slopes, none_below(best))


def none_below(best_cosines: Floats) -> float:
    """The best cosine [n] that all but a tenth of photographs like these reach.

    On average, k / (n + 1) of other photographs lie below the k-th lowest of n.
    """
    k = max(1, math.floor(KNOWN_REJECTED_SHARE * (len(best_cosines) + 1)))
    return float(np.sort(best_cosines)[k - 1])


def measure(
    classifier: Classifier, backgrounds: NDArray[np.float32], *parts: Examples
) -> HeldOutRates:
    """Fit without one fold after the other, and judge the pictures of that fold."""
    alone = parts[0]
    accepted = [np.zeros_like(part.shows) for part in parts]
    best = classifier.label_cosines(alone.embeddings).max(axis=1)
    rejected = np.zeros(len(best), dtype=bool)
    for fold in np.unique(alone.folds):
        fitted = fit(classifier, backgrounds, *(_where(part, part.folds != fold) for part in parts))
        judge = MultiLabelClassifier(classifier, backgrounds, fitted)
        for part, given in zip(parts, accepted, strict=True):
            held_out = part.folds == fold
            given[held_out] = (
                probabilities(part.embeddings[held_out], judge) >= DEFAULT_MIN_PROBABILITY
            )
        held_out = alone.folds == fold
        rejected[held_out] = best[held_out] < fitted.none_below
    rates = [_rates(given, part.shows) for given, part in zip(accepted, parts, strict=True)]
    given, shows = np.concatenate(accepted), np.concatenate([part.shows for part in parts])
    return HeldOutRates(
        n_photos=len(alone.shows),
        n_pairs=sum(len(part.shows) for part in parts[1:]),
        alone=rates[0],
        in_pairs=rates[1] if len(rates) > 1 else None,
        per_label=tuple(_rates(*columns) for columns in zip(given.T, shows.T, strict=True)),
        known_rejected=float(rejected.mean()),
        strangers_accepted=_strangers_accepted(classifier, alone),
    )


def _line(values: Floats, targets: NDArray[np.bool_], weights: Floats, shared: Floats) -> Floats:
    """Intercept and slope [2] for one label. The slope stays positive, so that a larger contrast
    never makes the label less likely: where the fit is flatter, a tenth of the shared slope is
    used."""
    line = _logistic(_inputs(values), targets, weights, shared)
    min_slope = shared[1] / 10
    if line[1] >= min_slope:
        return line
    ones = np.ones((len(values), 1))
    intercept = _logistic(ones, targets, weights, shared[:1], min_slope * values)
    return np.array([intercept[0], min_slope])


def _inputs(values: Floats) -> Floats:
    return np.stack([np.ones_like(values), values], axis=1)


def _logistic(
    inputs: Floats,
    targets: NDArray[np.bool_],
    weights: Floats,
    prior: Floats,
    offset: Floats | float = 0.0,
) -> Floats:
    """Coefficients [k] of a logistic regression that is drawn towards `prior` [k].

    inputs: [n, k]; targets, weights and offset, which is added to the logits: [n]. By Newton's
    method, each step halved until the loss falls.
    """
    signs = np.where(targets, 1.0, -1.0)

    def loss(coefficients: Floats) -> float:
        penalty = PRIOR_PRECISION * ((coefficients - prior) ** 2).sum() / 2
        logits = inputs @ coefficients + offset
        return float(weights @ np.logaddexp(0, -signs * logits) + penalty)

    coefficients = prior.copy()
    for _ in range(MAX_STEPS):
        chances = sigmoid(inputs @ coefficients + offset)
        gradient = inputs.T @ (weights * (chances - targets))
        gradient += PRIOR_PRECISION * (coefficients - prior)
        curvature = (inputs.T * (weights * chances * (1 - chances))) @ inputs
        step = np.linalg.solve(curvature + PRIOR_PRECISION * np.eye(len(prior)), gradient)
        while np.abs(step).max() > SMALL_STEP and loss(coefficients - step) > loss(coefficients):
            step = step / 2
        coefficients = coefficients - step
        if np.abs(step).max() <= SMALL_STEP:
            break
    return coefficients


def _balanced(shows: NDArray[np.bool_]) -> Floats:
    """Weights [n]: together, pictures with the label weigh as much as those without it."""
    share = shows.mean()
    if share in (0, 1):
        return np.ones(len(shows))
    weights: Floats = np.where(shows, 0.5 / share, 0.5 / (1 - share))
    return weights


def _where(examples: Examples, chosen: NDArray[np.bool_]) -> Examples:
    return Examples(examples.embeddings[chosen], examples.shows[chosen], examples.folds[chosen])


def _rates(given: NDArray[np.bool_], shows: NDArray[np.bool_]) -> Rates:
    absent, there = given[~shows], given[shows]
    return Rates(
        float(absent.mean()) if absent.size else None,
        float(1 - there.mean()) if there.size else None,
    )


def _strangers_accepted(classifier: Classifier, alone: Examples) -> float | None:
    """Leave out one label after the other: the share of its photographs that get another label."""
    cosines = classifier.label_cosines(alone.embeddings)
    if cosines.shape[1] < 2:
        return None
    passed = []
    for label in range(cosines.shape[1]):
        best = np.delete(cosines, label, axis=1).max(axis=1)
        is_stranger = alone.shows[:, label]
        passed += (best[is_stranger] >= none_below(best[~is_stranger])).tolist()
    return float(np.mean(passed))
