"""Labels that were taught with photographs; `probe_fit` teaches them, `probe_file` keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.labelling.classifier import cosines_between
from clipcli.labelling.zero_shot import LabelScores, best_labels
from clipcli.models.score import log_softmax
from clipcli.records import MadeBy, Prediction


@dataclass(frozen=True)
class ProbeOrigin:
    """What a probe was made from.

    made_by: whose embeddings it judges, with the templates around the labels' words;
    shots: photographs of each label;
    strength: the C of the largest share in the average, see `probe_fit.fit`, 0 for zero-shot
    itself and for class means;
    words_share: how much of the average comes from the words, the rest being photographs;
    accuracy and zero_shot_accuracy: fractions of held-out photographs. None where a label has just
    one photograph: while that is held out, the probe knows the label's words alone.
    """

    made_by: MadeBy
    shots: tuple[int, ...]
    strength: float
    words_share: float
    accuracy: float | None
    zero_shot_accuracy: float | None


@dataclass(frozen=True)
class Probe:
    """Labels that were taught with photographs.

    weights: float32 [n_labels, d], logits are `embeddings @ weights.T`; text_embeddings: float32
    [n_labels, d], unit length, of the labels' prompts, where the weights started.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    text_embeddings: NDArray[np.float32]
    origin: ProbeOrigin

    def label_photos(
        self, embeddings: NDArray[np.float32], top_k: int
    ) -> list[tuple[Prediction, ...]]:
        """The best `top_k` labels of each photograph, best first, as `zero_shot.label_photos`.

        embeddings: float32 [n, d], unit length. Similarities need not fall from rank to rank.
        """
        return best_labels(self.labels, self.label_scores(embeddings), top_k)

    def label_scores(self, embeddings: NDArray[np.float32]) -> LabelScores:
        """Of each photograph [n, d] and label. Probabilities are the softmax of the probe's logits;
        cosines are still those between photograph and prompts, which mean the same with and
        without a probe."""
        logits = cosines_between(embeddings, self.weights)
        cosines = cosines_between(embeddings, self.text_embeddings)
        return LabelScores(logits, np.exp(log_softmax(logits)), cosines)

    def digest(self) -> str:
        """SHA-256 of what it answers with."""
        digest = hashlib.sha256("\0".join(self.labels).encode("utf-8", "surrogatepass"))
        digest.update(self.weights.astype("<f4").tobytes())
        return digest.hexdigest()
