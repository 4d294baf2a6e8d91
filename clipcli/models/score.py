"""What a model makes of cosines: logits and probabilities. numpy alone.

A family of models that scores otherwise has a `Score` of its own here; nothing else knows how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Published scales are 100 (paper, 2.5) to 118 (SigLIP), and 14 before training. At the lowest, the
# likeliest of all labels is at most 2 % likelier than another; at the highest, what rounding does
# to a cosine, 1e-4, decides between them.
MIN_SCALE, MAX_SCALE = 0.01, 10_000.0

# Where a photograph is a mixture of class vectors, a cosine says by itself how much of the mixture
# a label names: about 0 for any other label, 0.4 for the only subject. Chosen for `lite` as round
# numbers near the best F1 and the least loss on photographs of one to three subjects, so that a
# probability is about as often right as it says (`examples/presence.py --half even`).
MIXTURE_THRESHOLD, MIXTURE_SCALE = 0.2, 12.0


@dataclass(frozen=True)
class Score:
    """A softmax over cosines times a learned scale (paper, 2.3 and figure 3).

    mixes_classes: a photograph's embedding is a mixture of class vectors, as `lite` makes it.
    bias: where there is one, each label's probability is a sigmoid of its own (Zhai et al., 2023,
    "Sigmoid loss for language image pre-training").
    """

    scale: float
    mixes_classes: bool = False
    bias: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no probabilities; NaN makes none either."""
        if not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise ValueError(
                f"cosines are multiplied by {self.scale:g};"
                f" expected {MIN_SCALE} to {MAX_SCALE:,.0f}"
            )

        if self.bias is not None and not -MAX_SCALE <= self.bias <= MAX_SCALE:
            raise ValueError(f"logit_bias is {self.bias:g}; expected at most {MAX_SCALE:,.0f}")

    @property
    def kind(self) -> Literal["softmax", "sigmoid"]:
        return "softmax" if self.bias is None else "sigmoid"

    # what a label has that is any of several classes, from these: the sum of their probabilities,
    # or where they are independent the best of them

    @property
    def join_probabilities(self) -> np.ufunc:
        return np.add if self.bias is None else np.maximum

    @property
    def join_logits(self) -> np.ufunc:
        return np.logaddexp if self.bias is None else np.maximum

    def logits(self, cosines: Floats) -> Floats:
        """Cosines of any shape -> logits of the same."""
        return self.scale * cosines + (self.bias or 0.0)

    def probabilities(self, logits: Floats) -> Floats:
        """Logits [n, n_classes] -> probabilities of the same shape."""
        if self.bias is not None:
            return sigmoid(logits)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def presence(self, cosines: Floats, opposing_cosines: Floats) -> Floats:
        """How likely each label is there: its softmax against an average opposing text.

        cosines: [n, n_labels]; opposing_cosines: [n, n_texts]. Returns [n, n_labels]. In a mixture
        of classes any absent label is as near as an average text, so the cosine alone decides; a
        model with a bias was trained to say it.
        """
        if self.bias is not None:
            return sigmoid(self.logits(cosines))
        if self.mixes_classes:
            return sigmoid(MIXTURE_SCALE * (cosines - MIXTURE_THRESHOLD))
        against = self.logits(opposing_cosines)
        average = np.logaddexp.reduce(against, axis=1) - np.log(against.shape[1])
        return sigmoid(self.logits(cosines) - average[:, None])


def sigmoid(logits: Floats) -> Floats:
    """Logits to probabilities, without overflow."""
    return 0.5 * (1 + np.tanh(logits / 2))


def log_softmax(logits: Floats) -> Floats:
    """Logits [n, n_classes] -> logarithms of probabilities, exact also where these vanish."""
    shifted: Floats = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
