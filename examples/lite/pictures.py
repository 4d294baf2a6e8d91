"""Simulated answers of the frozen classifier, in place of photographs.

`similarity` holds the cosines of the classifier's weight rows (their mean taken off): a photograph
of one thing raises the logits of all that looks like it. The constants are chosen so that the
simulated classifier is right about as often as the real one is published to be on photographs that
it has not seen (77.6 %), with likely rivals of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

PEAK_MEAN, PEAK_STD, PEAK_RANGE = (
    7.3,
    1.8,
    (3.0, 11.0),
)  # height of the right class among the logits
NOISE_STD = 0.85
NEAR_CHANCES, NEAR_RANGE, NEAR_TEMPERATURE = (0.7, 0.35), (2.0, 8.0), 0.06  # rivals that look alike
FAR_CHANCE, FAR_RANGE = 0.25, (2.0, 7.0)  # another thing in the same photograph
SCENE_CLASSES, SCENE_RANGE, SCENE_SCALE = (3, 6), (2.0, 4.5), 0.8


def class_similarity(classifier_weight: Tensor) -> Tensor:
    """[n_classes, width] -> cosines [n_classes, n_classes] of the centred rows."""
    rows = F.normalize(classifier_weight - classifier_weight.mean(0), dim=-1)
    return rows @ rows.t()


@dataclass
class Simulator:
    """Draws logits.

    similarity: float32 [n_classes, n_classes]; scene_classes: of each text that can be a scene;
    scene_odds: how likely each of these texts is.
    """

    similarity: Tensor
    scene_classes: list[Tensor]
    scene_odds: Tensor

    def __post_init__(self) -> None:
        n_classes = len(self.similarity)
        others = self.similarity - 2 * torch.eye(n_classes)
        self._near_odds = (others / NEAR_TEMPERATURE).softmax(dim=-1)

    def class_pictures(self) -> Tensor:
        """Logits [n_classes, n_classes]: one photograph of each class."""
        n = len(self.similarity)
        peaks = (PEAK_MEAN + PEAK_STD * torch.randn(n, 1)).clamp(*PEAK_RANGE)
        logits = peaks * self.similarity + NOISE_STD * torch.randn(n, n)
        rivals = self._near_odds.multinomial(len(NEAR_CHANCES))
        for chance, rival in zip(NEAR_CHANCES, rivals.t(), strict=True):
            logits += _sometimes(n, chance, NEAR_RANGE) * self.similarity[rival]
        return (
            logits + _sometimes(n, FAR_CHANCE, FAR_RANGE) * self.similarity[torch.randint(n, (n,))]
        )

    def scenes(self, n: int) -> tuple[Tensor, Tensor]:
        """Logits [n, n_classes] of photographs with several classes of one text.

        And those classes' shares, in the same shape.
        """
        n_classes = len(self.similarity)
        strengths, shares = torch.zeros(n, n_classes), torch.zeros(n, n_classes)
        low, high = SCENE_CLASSES
        for row, text in enumerate(self.scene_odds.multinomial(n, replacement=True).tolist()):
            classes = self.scene_classes[text]
            wanted = int(torch.randint(low, high + 1, ()))
            drawn = classes[torch.randperm(len(classes))[:wanted]]
            strengths[row, drawn] = _uniform(len(drawn), SCENE_RANGE)
            shares[row, drawn] = 1 / len(drawn)
        return SCENE_SCALE * strengths @ self.similarity + NOISE_STD * torch.randn(
            n, n_classes
        ), shares


def _uniform(n: int, between: tuple[float, float]) -> Tensor:
    low, high = between
    return low + (high - low) * torch.rand(n)


def _sometimes(n: int, chance: float, between: tuple[float, float]) -> Tensor:
    """[n, 1]: a strength with the given chance, else zero."""
    return (_uniform(n, between) * (torch.rand(n) < chance)).unsqueeze(-1)
