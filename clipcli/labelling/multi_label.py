"""Is a label there? Each label judged on its own, and photographs that none of them fits.

A softmax over labels always finds one of them, and the same cosine can be high for one label and
low for another. So a label's cosine is compared with those that other texts have to the same
photograph: background prompts, which stand for everything that is no label, and once calibrated
all labels. numpy alone.

Uncalibrated, the model's `Score.presence` says what that means. `lite` judges by the cosine alone:
its backgrounds are no nearer to a photograph than labels that are not there, so that against the
average background half of these would be found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.labelling import zero_shot
from clipcli.labelling.classifier import Classifier, cosines_between
from clipcli.labelling.zero_shot import LabelScores
from clipcli.models.score import Floats, sigmoid
from clipcli.records import Prediction

# True of any photograph, or of what surrounds its subject. They name no kinds of things: "a photo
# of a person" would count against the label astronaut.
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

    thresholds: Floats
    temperatures: Floats
    none_below: float


@dataclass(frozen=True)
class MultiLabelClassifier:
    """Labels, and what they are judged against: unit float32 [n_backgrounds, d].

    Without `fitted` thresholds the model's own `Score.presence` has to do.
    """

    classifier: Classifier
    backgrounds: NDArray[np.float32]
    fitted: Thresholds | None = None


def contrasts(
    embeddings: NDArray[np.float32], classifier: Classifier, backgrounds: NDArray[np.float32]
) -> Floats:
    """How much nearer a label is than the opposing texts are on average: [n, n_labels].

    The opposing texts are all labels and the background prompts, each group with half of the
    weight. Their mean takes away what a photograph has in common with any text. It hardly depends
    on one text alone, so that one label that is there does not hide another.
    """
    cosines = classifier.label_cosines(embeddings)
    against = cosines_between(embeddings, backgrounds)
    opposing = cosines.mean(axis=1, keepdims=True) + against.mean(axis=1, keepdims=True)
    contrast: Floats = cosines - opposing / 2
    return contrast


def probabilities(embeddings: NDArray[np.float32], judge: MultiLabelClassifier) -> Floats:
    """How likely each label is there, whatever the others are: [n, n_labels].

    embeddings: float32 [n, d], unit length. Without calibration that is `Score.presence`.
    """
    if judge.fitted is not None:
        fitted = judge.fitted
        margins = contrasts(embeddings, judge.classifier, judge.backgrounds)
        return sigmoid((margins - fitted.thresholds) / fitted.temperatures)
    classifier = judge.classifier
    against = cosines_between(embeddings, judge.backgrounds)
    return classifier.score.presence(classifier.label_cosines(embeddings), against)


def label_scores(embeddings: NDArray[np.float32], judge: MultiLabelClassifier) -> LabelScores:
    """Of each photograph [n, d] and label: `probabilities`, by which they are sorted too."""
    chances = probabilities(embeddings, judge)
    return LabelScores(chances, chances, judge.classifier.label_cosines(embeddings))


def label_photos(
    embeddings: NDArray[np.float32],
    judge: MultiLabelClassifier,
    top_k: int | None = None,
    min_probability: float | None = None,
    unknown: str | None = None,
) -> list[tuple[Prediction, ...]]:
    """All labels that are there, at most `top_k`, best first; equal ones as they were given.

    embeddings: float32 [n, d], unit length. A label is there from `min_probability` on, by default
    0.5. A photograph without any has `unknown` for its one label, or if that is None an empty
    tuple.
    """
    floor = DEFAULT_MIN_PROBABILITY if min_probability is None else min_probability
    scores = label_scores(embeddings, judge)
    names = judge.classifier.names
    labelled = []
    for key, chance, cosine in zip(
        scores.sort_keys, scores.probabilities, scores.cosines, strict=True
    ):
        order = np.argsort(-key, kind="stable")
        kept = [label for label in order if chance[label] >= floor][:top_k]
        there = tuple(
            Prediction(names[label], float(chance[label]), float(cosine[label]), is_accepted=True)
            for label in kept
        )
        labelled.append(there or _none(unknown, chance.max(), cosine.max()))
    return labelled


def label_photos_that_fit(
    embeddings: NDArray[np.float32],
    judge: MultiLabelClassifier,
    top_k: int | None = None,
    min_probability: float | None = None,
    unknown: str | None = None,
) -> list[tuple[Prediction, ...]]:
    """The labels that `zero_shot.label_photos` finds, unless the photograph fits none of them.

    It fits none if no label's probability, after the softmax, is `min_probability`, or if its
    best cosine is below the calibrated threshold. With neither to go by, it fits none if no
    label is there by `probabilities`. Then it has `unknown` for its one label, or if that is
    None an empty tuple.
    """
    floor = 0.0 if min_probability is None else min_probability
    labelled = zero_shot.label_photos(embeddings, judge.classifier, top_k or 1)
    cosines = judge.classifier.label_cosines(embeddings).max(axis=1)
    chances = _chances_of_fit(embeddings, cosines, judge, min_probability)
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
    best_cosines: Floats,
    judge: MultiLabelClassifier,
    min_probability: float | None,
) -> Floats:
    """How likely each photograph fits some label: [n]; 1 where nothing speaks about that."""
    if judge.fitted is not None:
        above = best_cosines.astype(np.float32) - np.float32(judge.fitted.none_below)
        chances = sigmoid(judge.classifier.score.scale * above.astype(np.float64))
    elif min_probability is None:
        chances = probabilities(embeddings, judge).max(axis=1)
    else:
        chances = np.ones(len(embeddings))
    return chances


def _none(unknown: str | None, chance: float, cosine: float) -> tuple[Prediction, ...]:
    """In place of labels: how likely it is that not even the best one fits, and its cosine."""
    if unknown is None:
        return ()
    return (Prediction(unknown, float(1 - chance), float(cosine), is_unknown=True),)
