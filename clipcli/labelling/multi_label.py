"""Is a label there? Each label judged on its own, and photographs that none of them fits.

A softmax over labels always finds one of them, and a cosine means something else for every
label and every photograph, so a cosine is compared with those of opposing texts to the same
photograph: `background` prompts, which stand for all that nobody asked about, and once
calibrated the other labels. numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.labelling import zero_shot
from clipcli.labelling.zero_shot import Classifier
from clipcli.records import Prediction

# True of any photograph, and of what lies around its subject. No kinds of things: "a photo of a
# person" would speak against an astronaut, who is one.
BACKGROUND_PROMPTS = (
    "a photo.",
    "a photo of something.",
    "a photo of something else.",
    "a blurry photo.",
    "a background.",
    "a texture.",
    "a photo of a landscape.",
    "a photo of the sky.",
    "a photo of water.",
    "a photo of a street.",
    "a photo of a room.",
)
DEFAULT_MIN_PROBABILITY = 0.5  # a label is there if that is likelier than not


@dataclass(frozen=True)
class Thresholds:
    """What labelled photographs teach about one classifier; see `calibration.fit`.

    thresholds and temperatures: float64 [n_labels], in units of `contrasts`; a label has the
    probability 1 / (1 + exp((threshold - contrast) / temperature)). none_below: a photograph
    whose best cosine is lower fits no label.
    """

    thresholds: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    none_below: float


@dataclass(frozen=True)
class Presence:
    """Labels, and what they are judged against: unit float32 [n_backgrounds, d].

    Without `fitted` thresholds the model's own logit scale has to do.
    """

    classifier: Classifier
    backgrounds: NDArray[np.float32]
    fitted: Thresholds | None = None


def label_cosines(embeddings: NDArray[np.float32], classifier: Classifier) -> NDArray[np.float64]:
    """Cosine of each photograph and label, the best of a label's classes: [n, n_labels]."""
    cosines = _cosines(embeddings, classifier.embeddings)
    return zero_shot.over_labels(np.maximum, cosines, classifier)


def contrasts(
    embeddings: NDArray[np.float32], classifier: Classifier, backgrounds: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How much nearer a label is than the opposing texts are on average: [n, n_labels].

    Those are all labels, and the background prompts, either with half of the weight. The mean
    takes away what a photograph has in common with any text, and since it hardly depends on one
    of them, one label that is there does not hide another.
    """
    cosines = label_cosines(embeddings, classifier)
    against = _cosines(embeddings, backgrounds)
    opposing = cosines.mean(axis=1, keepdims=True) + against.mean(axis=1, keepdims=True)
    contrast: NDArray[np.float64] = cosines - opposing / 2
    return contrast


def probabilities(embeddings: NDArray[np.float32], presence: Presence) -> NDArray[np.float64]:
    """How likely each label is there, whatever the others are: [n, n_labels].

    embeddings: float32 [n, d], unit length. Without calibration that is the softmax of the label
    against an average background prompt.
    """
    if presence.fitted is not None:
        fitted = presence.fitted
        margins = contrasts(embeddings, presence.classifier, presence.backgrounds)
        return sigmoid((margins - fitted.thresholds) / fitted.temperatures)
    scale = presence.classifier.logit_scale
    logits = scale * label_cosines(embeddings, presence.classifier)
    against = scale * _cosines(embeddings, presence.backgrounds)
    average = np.logaddexp.reduce(against, axis=1) - np.log(against.shape[1])
    return sigmoid(logits - average[:, None])


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits to probabilities, without overflow."""
    return 0.5 * (1 + np.tanh(logits / 2))


def label_photos(
    embeddings: NDArray[np.float32],
    presence: Presence,
    top_k: int | None = None,
    min_probability: float = DEFAULT_MIN_PROBABILITY,
    unknown: str | None = None,
) -> list[tuple[Prediction, ...]]:
    """All labels that are there, at most `top_k`, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length. A photograph without any has `unknown` for its one
    label, or if that is None an empty tuple.
    """
    chances = probabilities(embeddings, presence)
    cosines = label_cosines(embeddings, presence.classifier)
    labelled = []
    for chance, cosine in zip(chances, cosines, strict=True):
        # ties as in scoring.label_photos
        order = np.argsort(-chance.astype(np.float32), kind="stable")
        kept = [label for label in order if chance[label] >= min_probability][:top_k]
        there = tuple(
            Prediction(presence.classifier.names[label], float(chance[label]), float(cosine[label]))
            for label in kept
        )
        labelled.append(there or _none(unknown, chance.max(), cosine.max()))
    return labelled


def label_photos_that_fit(
    embeddings: NDArray[np.float32],
    presence: Presence,
    top_k: int = 1,
    min_probability: float | None = None,
    unknown: str | None = None,
) -> list[tuple[Prediction, ...]]:
    """The labels that `scoring.label_photos` finds, unless the photograph fits none of them.

    It fits none if no label's probability, after the softmax, is `min_probability`, or if its
    best cosine is below the calibrated threshold. With neither to go by, it fits none if no
    label is there by `probabilities`. Then it has `unknown` for its one label, or if that is
    None an empty tuple.
    """
    floor = 0.0 if min_probability is None else min_probability
    labelled = zero_shot.label_photos(embeddings, presence.classifier, top_k)
    cosines = label_cosines(embeddings, presence.classifier).max(axis=1)
    chances = _chances_of_fit(embeddings, cosines, presence, min_probability)
    fitting: list[tuple[Prediction, ...]] = []
    for predictions, chance, cosine in zip(labelled, chances, cosines, strict=True):
        kept = tuple(one for one in predictions if one.probability >= floor)
        if chance < DEFAULT_MIN_PROBABILITY:
            fitting.append(_none(unknown, chance, cosine))
        else:
            fitting.append(kept or _none(unknown, predictions[0].probability, cosine))
    return fitting


def _chances_of_fit(
    embeddings: NDArray[np.float32],
    best_cosines: NDArray[np.float64],
    presence: Presence,
    min_probability: float | None,
) -> list[float]:
    """How likely each photograph fits some label, as far as there is something to go by."""
    if presence.fitted is not None:
        scale = presence.classifier.logit_scale
        above = best_cosines.astype(np.float32) - np.float32(presence.fitted.none_below)
        chances = sigmoid(scale * above.astype(np.float64))
    elif min_probability is None:
        chances = probabilities(embeddings, presence).max(axis=1)
    else:
        chances = np.ones(len(embeddings))
    return [float(chance) for chance in chances]


def _none(unknown: str | None, chance: float, cosine: float) -> tuple[Prediction, ...]:
    """What stands for no label: how likely it is that the best one fails, and its cosine."""
    return () if unknown is None else (Prediction(unknown, float(1 - chance), float(cosine)),)


def _cosines(embeddings: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = embeddings.astype(np.float64) @ others.astype(np.float64).T
    return product
