"""Labels learned from a few photographs each: logistic regression that starts from the words.

The paper's linear probe (appendix A.3) is logistic regression on unit-length image embeddings,
its strength C swept on held-out photographs. It starts from nothing, so that with one to four
photographs a label it is worse than the zero-shot classifier (paper, figure 6). Here

    logits = logit_scale * x @ text_embeddings.T + x @ learned.T      x: a photograph, [d]

minimises C * sum of cross-entropies + |learned|² / 2: the penalty pulls towards the zero-shot
classifier in place of zero, and C = 0 is that classifier itself; `fit` weighs the C's. With
text_embeddings of zero it is scikit-learn's LogisticRegression(C, fit_intercept=False), by the
same solver, scipy's L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.probe import Probe, ProbeOrigin
from clipcli.models.score import Floats, log_softmax
from clipcli.records import MadeBy

Indices = NDArray[np.int64]

# C bounds how far one photograph, of length 1, can move a logit; 1/4 to 256 are tried
STRENGTHS = tuple(4.0**power for power in range(-1, 5))
# in a class mean, the words weigh as much as so many photographs of the label
N_PHOTOS_OF_WORDS = tuple(2.0**power for power in range(1, 7))
N_FOLDS = 5
N_FOLDS_OF_LABELS = 10
PRIOR_FACTOR = 4.0  # C is log-normal around 1, with this factor as its standard deviation
NEGLIGIBLE = 1e-4  # a share
HOPELESS_NATS = 20.0  # so far below the best log-likelihood, no larger C is tried
# a fit ends when the gradient's largest element is this share of what it is with nothing learned
SWEEP_TOLERANCE = 1e-2
FINAL_TOLERANCE = 1e-4


@dataclass(frozen=True)
class FittedWeights:
    """weights: float64 [n_labels, d], logits are `embeddings @ weights.T`. See `ProbeOrigin`."""

    weights: Floats
    strength: float
    words_share: float
    accuracy: float | None
    zero_shot_accuracy: float | None


def fit_probe(
    embeddings: NDArray[np.float32], truth: Indices, classifier: Classifier, made_by: MadeBy
) -> Probe:
    """A probe from labelled photographs: embeddings float32 [n, d], truth [n] label indices.

    made_by: of the embeddings, with the templates around the labels' words.
    Raises UsageError where fewer than two labels have photographs, or without scipy.
    """
    fitted = fit(embeddings, truth, classifier)
    shots = np.bincount(truth, minlength=len(classifier.names))
    origin = ProbeOrigin(
        made_by,
        tuple(shots.tolist()),
        fitted.strength,
        fitted.words_share,
        fitted.accuracy,
        fitted.zero_shot_accuracy,
    )
    weights = fitted.weights.astype(np.float32)
    return Probe(classifier.names, weights, classifier.embeddings, origin)


def fit(embeddings: NDArray[np.float32], truth: Indices, classifier: Classifier) -> FittedWeights:
    """Average many candidates, each weighed by cross-validation among the photographs given.

    The candidates are every C, with the zero-shot classifier (C = 0) among them; the same without
    words, where the words say nothing about these photographs; and class means, the words and the
    photographs of a label summed as directions, where the words count as 2 to 64 photographs. A
    candidate's share is proportional to the likelihood that it gives the held-out photographs
    (pseudo-Bayes factors: Geisser and Eddy 1979; Yao et al. 2018, section 3.4), times a prior
    around C = 1. So words and photographs weigh as much as they are worth on these photographs. To
    choose one candidate would be a matter of luck with few photographs, and accuracy is too coarse
    to judge by. A label whose photographs are all held out, as with one photograph a label, is no
    part of that fold's softmax: photographs of other labels do not push it below its words.

    Raises UsageError where fewer than two labels have photographs, or without scipy.
    """
    _check(truth, classifier)
    n_labels = len(classifier.names)
    words = classifier.score.scale * classifier.embeddings.astype(np.float64)
    x = embeddings.astype(np.float64)
    # the weights that the penalty lets grow lie in the span of the photographs: [d] -> [rank]
    basis = _span(x)
    shots = np.bincount(truth, minlength=n_labels)
    zero_shot = x @ words.T
    starts = [words]
    if shots.all() and _says_nothing(zero_shot, truth):
        starts.append(np.zeros_like(words))
    candidates = []
    for start in starts:
        candidates += _candidates(start, x @ basis, x @ start.T, truth)
    candidates += _class_means(words, x, truth)
    scores = [candidate.likelihood + candidate.log_prior for candidate in candidates]
    shares = np.exp(log_softmax(np.array([scores]))[0])
    shares[shares <= NEGLIGIBLE] = 0
    shares /= shares.sum()
    weights = np.zeros_like(words)
    judged = np.zeros_like(zero_shot)
    for share, candidate in zip(shares, candidates, strict=True):
        judged += share * candidate.held_out
        if share:
            learned = np.zeros((n_labels, basis.shape[1]))
            if candidate.strength:
                offsets, strength = x @ candidate.start.T, candidate.strength
                learned = minimise(x @ basis, offsets, truth, strength, learned, FINAL_TOLERANCE)
            weights += share * (candidate.start + learned @ basis.T)
    is_measured = shots[truth].min() > 1
    return FittedWeights(
        weights,
        candidates[int(shares.argmax())].strength,
        float(shares @ [one.words_share for one in candidates]),
        _accuracy(judged, truth) if is_measured else None,
        _accuracy(zero_shot, truth) if is_measured else None,
    )


@dataclass(frozen=True)
class _Candidate:
    """One start [n_labels, d] with one C: its logits [n, n_labels] of held-out photographs.

    words_share: how much of the start is the labels' words, the rest being photographs.
    """

    start: Floats
    words_share: float
    strength: float
    held_out: Floats
    likelihood: float
    log_prior: float


def _candidates(start: Floats, x: Floats, offsets: Floats, truth: Indices) -> list[_Candidate]:
    """C = 0 and STRENGTHS from one start, up to one that is hopeless."""
    folds = [(~is_held_out, is_held_out) for is_held_out in _folds(truth)]
    paths = [np.zeros((offsets.shape[1], x.shape[1])) for _ in folds]
    words_share = float(start.any())
    likelihood = _log_likelihood(offsets, truth)
    candidates = [_Candidate(start, words_share, 0.0, offsets, likelihood, 0.0)]
    for strength in STRENGTHS:
        logits = offsets.copy()
        for fold, (kept, left) in enumerate(folds):
            paths[fold] = minimise(x[kept], offsets[kept], truth[kept], strength, paths[fold])
            logits[left] += x[left] @ paths[fold].T
        likelihood = _log_likelihood(logits, truth)
        log_prior = -(np.log(strength) ** 2) / (2 * np.log(PRIOR_FACTOR) ** 2)
        candidates.append(_Candidate(start, words_share, strength, logits, likelihood, log_prior))
        if likelihood < max(one.likelihood for one in candidates) - HOPELESS_NATS:
            break
    return candidates


def _class_means(words: Floats, x: Floats, truth: Indices) -> list[_Candidate]:
    """Each label's words and photographs as one mean direction, for N_PHOTOS_OF_WORDS.

    As with von Mises-Fisher distributions around the words: few photographs move a label little.
    """
    folds = _folds(truth)
    candidates = []
    for n_words in N_PHOTOS_OF_WORDS:
        logits = np.empty((len(x), len(words)))
        for is_held_out in folds:
            kept = ~is_held_out
            means = _mean_directions(words, x[kept], truth[kept], n_words)
            logits[is_held_out] = x[is_held_out] @ means.T
        likelihood = _log_likelihood(logits, truth)
        means = _mean_directions(words, x, truth, n_words)
        words_share = n_words / (n_words + len(x) / len(words))
        candidates.append(_Candidate(means, words_share, 0.0, logits, likelihood, 0.0))
    return candidates


def _mean_directions(words: Floats, x: Floats, truth: Indices, n_words: float) -> Floats:
    """Weights [n_labels, d] as long as `words`, of labels that `n_words` and `x` speak for."""
    lengths = np.linalg.norm(words, axis=1, keepdims=True)
    sums = n_words * words / lengths
    np.add.at(sums, truth, x)
    directions: Floats = lengths * sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return directions


def minimise(
    x: Floats,
    offsets: Floats,
    truth: Indices,
    strength: float,
    start: Floats,
    tolerance: float = SWEEP_TOLERANCE,
) -> Floats:
    """The `learned` of the module's first lines, for one C = `strength`.

    x: [n, d]; offsets: [n, n_labels], logits to start from; start: [n_labels, d], where to begin.
    The softmax is over labels that occur in `truth`; rows of the others are zero.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    labels, rows = np.unique(truth, return_inverse=True)
    offsets = offsets[:, labels]
    photos = np.arange(len(x))
    decay = 1 / (strength * len(x))

    def mean_loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(len(labels), -1)
        log_p = log_softmax(offsets + x @ weights.T)
        errors = np.exp(log_p)
        errors[photos, rows] -= 1
        gradient = errors.T @ x / len(x) + decay * weights
        loss = -log_p[photos, rows].mean() + decay / 2 * float(flat @ flat)
        return loss, gradient.ravel()

    _, gradient = mean_loss(np.zeros(start[labels].size))
    found = minimize(
        mean_loss,
        start[labels].ravel(),
        jac=True,
        method="L-BFGS-B",
        # ftol as scikit-learn has it: the gradient alone says when it is done
        options={
            "gtol": tolerance * np.abs(gradient).max(),
            "ftol": 64 * np.finfo(float).eps,
            "maxiter": 1000,
        },
    )
    learned = np.zeros_like(start)
    learned[labels] = found.x.reshape(len(labels), -1)
    return learned


def check_scipy() -> None:
    """Raises UsageError where it is not installed."""
    from importlib.util import find_spec

    if find_spec("scipy") is None:
        raise UsageError(
            'a probe is fitted by scipy; install it with: pip install "clipcli[probe]"'
        )


def check_classes(classifier: Classifier) -> None:
    """Raises UsageError for a label that is any of several classes."""
    if len(classifier.embeddings) != len(classifier.names):
        raise UsageError(
            "a label of several classes (any:) cannot be taught; leave out any: to average its"
            " words, or make labels of them"
        )


def _check(truth: Indices, classifier: Classifier) -> None:
    check_scipy()
    check_classes(classifier)
    taught = np.unique(truth)
    if len(taught) < 2:
        found = classifier.names[taught[0]] if len(taught) else "no label"
        raise UsageError(f"photographs of {found} alone; expected some of at least two labels")


def _folds(truth: Indices) -> list[NDArray[np.bool_]]:
    """Which photographs [n] each fold holds out: of every label alike."""
    n_folds = min(N_FOLDS, int(np.bincount(truth).max()))
    if n_folds == 1:  # one photograph a label: whole labels are held out
        n_folds = min(N_FOLDS_OF_LABELS, len(truth))
        fold = np.argsort(np.argsort(truth)) % n_folds
    else:
        fold = np.empty(len(truth), dtype=np.int64)
        for label in np.unique(truth):
            photos = np.flatnonzero(truth == label)
            fold[photos] = np.arange(len(photos)) % n_folds
    return [fold == number for number in range(n_folds)]


def _says_nothing(zero_shot: Floats, truth: Indices) -> bool:
    """Whether the words are no better than none at any temperature, by BIC (Schwarz 1978)."""
    n, n_labels = zero_shot.shape
    temperatures = 2.0 ** np.arange(-6, 1)
    best = max(_log_likelihood(scale * zero_shot, truth) for scale in temperatures)
    return bool(best + n * np.log(n_labels) < np.log(n) / 2)


def _span(x: Floats) -> Floats:
    """An orthonormal basis [d, rank] of the rows of x [n, d]."""
    _, sizes, directions = np.linalg.svd(x, full_matrices=False)
    basis: Floats = directions[sizes > 1e-9 * sizes[0]].T
    return basis


def _accuracy(logits: Floats, truth: Indices) -> float:
    return float((logits.argmax(axis=1) == truth).mean())


def _log_likelihood(logits: Floats, truth: Indices) -> float:
    n = len(truth)
    return n * float(log_softmax(logits)[np.arange(n), truth].mean())
