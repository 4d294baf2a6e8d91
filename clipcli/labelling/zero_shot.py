"""The likeliest of all labels for each photograph: CLIP's zero-shot classifier (paper, 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.labelling.classifier import Classifier
from clipcli.models.score import Floats
from clipcli.records import Prediction


@dataclass(frozen=True)
class LabelScores:
    """How well each label fits some photographs, whether it is given or not.

    order, which is higher the better a label fits, probabilities and cosines: [n, n_labels].
    """

    order: Floats
    probabilities: Floats
    cosines: Floats

    @property
    def sort_keys(self) -> NDArray[np.float32]:
        """What labels are sorted by, highest first; equal ones as they were given."""
        # ties are decided on the digits that a float32 has, not on the noise behind them
        return self.order.astype(np.float32)

    def ranks(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rank of one label of each photograph, [n], from 1 on. labels: their indices [n]."""
        sort_keys = self.sort_keys
        own = np.take_along_axis(sort_keys, labels[:, None], axis=1)
        is_before = np.arange(sort_keys.shape[1]) < labels[:, None]
        better = (sort_keys > own) | ((sort_keys == own) & is_before)
        ranks: NDArray[np.int64] = 1 + better.sum(axis=1)
        return ranks


def label_photos(
    embeddings: NDArray[np.float32], classifier: Classifier, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The best `top_k` labels of each photograph, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length.
    """
    return best_labels(classifier.names, label_scores(embeddings, classifier), top_k)


def label_scores(embeddings: NDArray[np.float32], classifier: Classifier) -> LabelScores:
    """Of each photograph [n, d] and label. Probabilities are over all classes; a label of several
    has their sum, and the best of their cosines."""
    cosines = classifier.class_cosines(embeddings)
    score = classifier.score
    logits = score.logits(cosines)
    probabilities = classifier.over_labels(score.join_probabilities, score.probabilities(logits))
    order = classifier.over_labels(score.join_logits, logits) if classifier.has_any else cosines
    cosines = classifier.over_labels(np.maximum, cosines)
    return LabelScores(order, probabilities, cosines)


def best_labels(
    names: tuple[str, ...], scores: LabelScores, top_k: int
) -> list[tuple[Prediction, ...]]:
    """The labels that fit each photograph best, the first one accepted."""
    best = np.argsort(-scores.sort_keys, axis=1, kind="stable")[:, :top_k]
    rows = zip(
        best.tolist(),
        np.take_along_axis(scores.probabilities, best, axis=1).tolist(),
        np.take_along_axis(scores.cosines, best, axis=1).tolist(),
        strict=True,
    )
    return [
        tuple(
            Prediction(names[label], probability, similarity, is_accepted=rank == 0)
            for rank, (label, probability, similarity) in enumerate(zip(*row, strict=True))
        )
        for row in rows
    ]
