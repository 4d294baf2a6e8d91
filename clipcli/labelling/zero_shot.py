"""The likeliest of all labels for each photograph: CLIP's zero-shot classifier (paper, 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcli.labelling.classifier import Classifier
from clipcli.models.score import Floats
from clipcli.records import Prediction


def label_photos(
    embeddings: NDArray[np.float32], classifier: Classifier, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The best `top_k` labels of each photograph, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length. Probabilities are over all classes; a label of
    several has their sum, and the best of their cosines.
    """
    cosines = classifier.class_cosines(embeddings)
    score = classifier.score
    logits = score.logits(cosines)
    probabilities = classifier.over_labels(score.join_probabilities, score.probabilities(logits))
    order = classifier.over_labels(score.join_logits, logits) if classifier.has_any else cosines
    cosines = classifier.over_labels(np.maximum, cosines)
    return best_labels(classifier.names, order, probabilities, cosines, top_k)


def best_labels(
    names: tuple[str, ...], order: Floats, probabilities: Floats, cosines: Floats, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The labels of highest `order` for each photograph, the first one accepted.

    order, probabilities and cosines: [n, n_labels].
    """
    # ties are decided on the digits that a float32 has, not on the noise behind them
    best = np.argsort(-order.astype(np.float32), axis=1, kind="stable")[:, :top_k]
    rows = zip(
        best.tolist(),
        np.take_along_axis(probabilities, best, axis=1).tolist(),
        np.take_along_axis(cosines, best, axis=1).tolist(),
        strict=True,
    )
    return [
        tuple(
            Prediction(names[label], probability, similarity, is_accepted=rank == 0)
            for rank, (label, probability, similarity) in enumerate(zip(*row, strict=True))
        )
        for row in rows
    ]
