"""Labelled photographs to what a labeller says of each, and where it ranks the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipcli.labelling.labeller import Labeller
from clipcli.records import Embedded, Prediction

TOP_K = 5  # labels that a labeller is opened with
N_AT_ONCE = 1024  # photographs whose scores of all labels are in memory


@dataclass(frozen=True)
class JudgedPhoto:
    """A photograph, its true label, and its best labels, best first; none if no label fits it.

    true_rank and true_probability: the true label's among all labels, given or not.
    """

    path: str
    truth: str
    predictions: tuple[Prediction, ...]
    true_rank: int
    true_probability: float

    @property
    def best(self) -> Prediction | None:
        """None for a photograph that got no label, which is wrong."""
        return self.predictions[0] if self.predictions else None

    @property
    def is_right(self) -> bool:
        return self.best is not None and self.best.label == self.truth


def judge(
    embedded: Sequence[Embedded], truth: Mapping[str, str], labeller: Labeller
) -> list[JudgedPhoto]:
    """What the labeller says of each photograph.

    truth: path -> the name that the labeller has for its label.
    """
    index = {name: place for place, name in enumerate(labeller.names)}
    judged = []
    for start in range(0, len(embedded), N_AT_ONCE):
        some = embedded[start : start + N_AT_ONCE]
        embeddings = np.stack([record.embedding for record in some])
        true_labels = np.array([index[truth[record.path]] for record in some])
        scores = labeller.score(embeddings)
        of_truth = np.take_along_axis(scores.probabilities, true_labels[:, None], axis=1)[:, 0]
        judged += [
            JudgedPhoto(record.path, truth[record.path], predictions, rank, probability)
            for record, predictions, rank, probability in zip(
                some,
                labeller.label(embeddings),
                scores.ranks(true_labels).tolist(),
                of_truth.tolist(),
                strict=True,
            )
        ]
    return judged
