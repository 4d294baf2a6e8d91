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
    """Labels with one unit embedding each: float32 [n_labels, d]; see `label_photo`."""

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    logit_scale: float


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


def label_photos(
    embeddings: NDArray[np.float32], classifier: Classifier, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The best `top_k` labels of each photograph, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length. Probabilities are over all labels.
    """
    cosines = embeddings.astype(np.float64) @ classifier.embeddings.astype(np.float64).T
    # ties are decided on the digits that a float32 has, not on the noise behind them
    best = np.argsort(-cosines.astype(np.float32), axis=1, kind="stable")[:, :top_k]
    logits = classifier.logit_scale * cosines
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
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
