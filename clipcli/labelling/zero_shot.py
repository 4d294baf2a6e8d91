"""Embeddings to labels: prompt ensembles, cosines, softmax, the best k. numpy alone.

Sums are in float64, so that a score does not depend on what stands beside it in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.records import Prediction


@dataclass(frozen=True)
class Classifier:
    """Labels with the unit embeddings of their classes: float32 [n_classes, d].

    `n_classes[i]` rows, in a row, are label i's: one, but for a label that is any of several.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    logit_scale: float
    n_classes: tuple[int, ...] = ()  # one each, if empty

    @property
    def has_any(self) -> bool:
        """Whether a label is any of several classes."""
        return any(n != 1 for n in self.n_classes)


def ensemble(prompt_embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of one label's prompt embeddings, unit length again (paper, 3.1.4).

    prompt_embeddings: float32 [n_prompts, d], unit length. Returns float32 [d].
    Raises UsageError if they cancel out.
    """
    if len(prompt_embeddings) == 1:
        only: NDArray[np.float32] = prompt_embeddings[0]
        return only
    return unit(prompt_embeddings.mean(axis=0, dtype=np.float64), "the prompts of a label")


def combine(
    embeddings: Sequence[NDArray[np.float32]], weights: Sequence[float]
) -> NDArray[np.float32]:
    """Weighted sum of unit embeddings, unit length again: [d]. Raises UsageError if it is zero."""
    total = np.asarray(weights, dtype=np.float64) @ np.asarray(embeddings, dtype=np.float64)
    return unit(total, "the parts of the query")


def unit(vector: NDArray[np.float64], what: str) -> NDArray[np.float32]:
    """`vector` [d] at length 1. Raises UsageError, naming `what`, where it has no direction."""
    length = np.linalg.norm(vector)
    if not length > 1e-6:
        raise UsageError(f"{what} cancel each other out; leave one of them out")
    return (vector / length).astype(np.float32)


def over_labels(
    join: np.ufunc, by_class: NDArray[np.float64], classifier: Classifier
) -> NDArray[np.float64]:
    """[n, n_classes] -> [n, n_labels]: what `join` makes of each label's classes."""
    if not classifier.has_any:
        return by_class
    joined: NDArray[np.float64] = join.reduceat(
        by_class, np.cumsum((0, *classifier.n_classes[:-1])), axis=1
    )
    return joined


def label_photos(
    embeddings: NDArray[np.float32], classifier: Classifier, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The best `top_k` labels of each photograph, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length. Probabilities are over all classes; a label of
    several has their sum, and the best of their cosines.
    """
    cosines = embeddings.astype(np.float64) @ classifier.embeddings.astype(np.float64).T
    logits = classifier.logit_scale * cosines
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    # ties are decided on the digits that a float32 has, not on the noise behind them
    order = over_labels(np.logaddexp, logits, classifier) if classifier.has_any else cosines
    cosines = over_labels(np.maximum, cosines, classifier)
    probabilities = over_labels(np.add, probabilities, classifier)
    best = np.argsort(-order.astype(np.float32), axis=1, kind="stable")[:, :top_k]
    rows = zip(
        best.tolist(),
        np.take_along_axis(probabilities, best, axis=1).tolist(),
        np.take_along_axis(cosines, best, axis=1).tolist(),
        strict=True,
    )
    names = classifier.names
    return [
        tuple(
            Prediction(names[label], probability, similarity)
            for label, probability, similarity in zip(*row, strict=True)
        )
        for row in rows
    ]
