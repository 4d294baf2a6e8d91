"""Thresholds and temperatures from a few labelled photographs; `calibration_file` keeps them.

Each label's probability is a logistic regression on its contrast (`presence.contrasts`): Platt
scaling (Platt, "Probabilistic outputs for support vector machines", 1999). A dozen photographs
of a label say little, so its fit is held to the one that all labels share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.labelling.multi_label import (
    DEFAULT_MIN_PROBABILITY,
    Presence,
    Thresholds,
    contrasts,
    label_cosines,
    probabilities,
    sigmoid,
)
from clipcli.labelling.zero_shot import Classifier

N_FOLDS = 5
# Of photographs that do show a label, how many may be called unknown: few enough to be looked
# through, and fewer would let most of the strangers pass.
KNOWN_REJECTED_SHARE = 0.1
PRIOR_PRECISION = 1.0  # a label's logit differs from the shared one by about one
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
class Measured:
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


def stratified_folds(labels: NDArray[np.int64], n_folds: int = N_FOLDS) -> NDArray[np.int64]:
    """A fold for each photograph, int64 [n], as even over labels and folds as can be.

    labels: int64 [n]. The folds are the same every time.
    """
    random = np.random.default_rng(0)
    shuffled = random.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_label] = np.arange(len(labels)) % n_folds
    return folds


def fit(
    classifier: Classifier,
    backgrounds: NDArray[np.float32],
    alone: Examples,
    in_pairs: Examples | None = None,
) -> Thresholds:
    """Thresholds and temperatures for a classifier's labels.

    backgrounds: unit float32 [n_backgrounds, d]; alone: photographs of one label each; in_pairs:
    photographs of several. A label that is there weighs as much as one that is not, so that 0.5
    stands for even odds. Raises UsageError if cosines tell nothing about the labels.
    """
    parts = [alone] if in_pairs is None else [alone, in_pairs]
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
    best = label_cosines(alone.embeddings, classifier).max(axis=1)
    return Thresholds(mean - spread * intercepts / slopes, spread / slopes, none_below(best))


def none_below(best_cosines: NDArray[np.float64]) -> float:
    """The best cosine [n] that all but a tenth of photographs like these reach.

    The k-th lowest of n is not reached by k / (n + 1) of others, on average.
    """
    k = max(1, math.floor(KNOWN_REJECTED_SHARE * (len(best_cosines) + 1)))
    return float(np.sort(best_cosines)[k - 1])


def measure(
    classifier: Classifier,
    backgrounds: NDArray[np.float32],
    alone: Examples,
    in_pairs: Examples | None = None,
) -> Measured:
    """Fit without one fold after the other, and judge the pictures of that fold."""
    parts = [alone] if in_pairs is None else [alone, in_pairs]
    accepted = [np.zeros_like(part.shows) for part in parts]
    best = label_cosines(alone.embeddings, classifier).max(axis=1)
    rejected = np.zeros(len(best), dtype=bool)
    for fold in np.unique(alone.folds):
        fitted = fit(classifier, backgrounds, *(_where(part, part.folds != fold) for part in parts))
        presence = Presence(classifier, backgrounds, fitted)
        for part, given in zip(parts, accepted, strict=True):
            held_out = part.folds == fold
            given[held_out] = (
                probabilities(part.embeddings[held_out], presence) >= DEFAULT_MIN_PROBABILITY
            )
        held_out = alone.folds == fold
        rejected[held_out] = best[held_out] < fitted.none_below
    rates = [_rates(given, part.shows) for given, part in zip(accepted, parts, strict=True)]
    given, shows = np.concatenate(accepted), np.concatenate([part.shows for part in parts])
    return Measured(
        n_photos=len(alone.shows),
        n_pairs=0 if in_pairs is None else len(in_pairs.shows),
        alone=rates[0],
        in_pairs=None if in_pairs is None else rates[1],
        per_label=tuple(_rates(*columns) for columns in zip(given.T, shows.T, strict=True)),
        known_rejected=float(rejected.mean()),
        strangers_accepted=_strangers_accepted(classifier, alone),
    )


def _line(
    values: NDArray[np.float64],
    targets: NDArray[np.bool_],
    weights: NDArray[np.float64],
    shared: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Intercept and slope [2] for one label. A label never gets likelier by fitting less: where
    that fits best, the slope stays at a tenth of the shared one, and chances near a half."""
    line = _logistic(_inputs(values), targets, weights, shared)
    min_slope = shared[1] / 10
    if line[1] >= min_slope:
        return line
    ones = np.ones((len(values), 1))
    intercept = _logistic(ones, targets, weights, shared[:1], min_slope * values)
    return np.array([intercept[0], min_slope])


def _inputs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(values), values], axis=1)


def _logistic(
    inputs: NDArray[np.float64],
    targets: NDArray[np.bool_],
    weights: NDArray[np.float64],
    prior: NDArray[np.float64],
    offset: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Coefficients [k] of a logistic regression that is drawn towards `prior` [k].

    inputs: [n, k]; targets, weights and offset, which is added to the logits: [n]. Newton's
    steps, each halved until it goes downhill.
    """
    signs = np.where(targets, 1.0, -1.0)

    def loss(coefficients: NDArray[np.float64]) -> float:
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


def _balanced(shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights [n] with which those that show the label weigh as much as those that do not."""
    share = shows.mean()
    if share in (0, 1):
        return np.ones(len(shows))
    weights: NDArray[np.float64] = np.where(shows, 0.5 / share, 0.5 / (1 - share))
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
    """Leave out one label after the other: which of its photographs pass for another label?"""
    cosines = label_cosines(alone.embeddings, classifier)
    if cosines.shape[1] < 2:
        return None
    passed = []
    for label in range(cosines.shape[1]):
        best = np.delete(cosines, label, axis=1).max(axis=1)
        is_stranger = alone.shows[:, label]
        passed += (best[is_stranger] >= none_below(best[~is_stranger])).tolist()
    return float(np.mean(passed))
