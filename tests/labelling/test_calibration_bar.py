"""How calibrated labels do on photographs that the calibration has not seen, over twenty splits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from places import SHARED

from clipcli.embedding.embedder import Embedder
from clipcli.labelling import calibration, multi_label, side_by_side
from clipcli.labelling.calibration import Examples
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.multi_label import MultiLabelClassifier
from clipcli.labels.folder_labels import folder_labels
from clipcli.labels.label import DEFAULT_TEMPLATE
from clipcli.photos.truth import read_truth
from clipcli.records import Embedded, Photo, Prediction

CIFAR = SHARED / "reference" / "cifar"
N_SEEDS = 20
N_CALIBRATING = 10  # of each label's twenty
N_COMPOSITES = 50  # a seed
N_PAIRS_EACH = 6  # as --pairs is by default
UNKNOWN = "none of these"


class Cifar:
    """The 200 photographs, embedded once."""

    def __init__(self) -> None:
        truth = read_truth(str(CIFAR / "truth.csv"))
        self.embedder = Embedder.open(
            str(CIFAR / "cifar-clip.pt"), precision="fp32", remember=False
        )
        self.names = np.array(truth.labels)
        self.paths = [one.path for one in truth.photos]
        self.labels = np.array([truth.labels.index(one.label) for one in truth.photos])
        self.embeddings = self.embed(self.paths)
        self.backgrounds = self.embedder.encode_texts(multi_label.BACKGROUND_PROMPTS)

    def embed(self, paths: Iterable[str]) -> NDArray[np.float32]:
        records = self.embedder.embed_photos([Photo(path) for path in paths])
        return np.stack([record.embedding for record in records if isinstance(record, Embedded)])

    def classifier(self, labels: Iterable[int]) -> Classifier:
        chosen = folder_labels(self.names[list(labels)])
        return build_classifier(self.embedder, chosen, [DEFAULT_TEMPLATE])

    def alone(self, photos: NDArray[np.int64], labels: NDArray[np.int64]) -> Examples:
        """Photographs as `clipcli calibrate` looks at them, with `labels` to choose from."""
        places = np.searchsorted(labels, self.labels[photos])
        return Examples(
            self.embeddings[photos],
            np.eye(len(labels), dtype=bool)[places],
            calibration.stratified_folds(places),
        )

    def in_pairs(self, photos: NDArray[np.int64], alone: Examples) -> Examples:
        """The same side by side."""
        chosen = side_by_side.choose_pairs(alone.shows.argmax(axis=1), alone.folds, N_PAIRS_EACH)
        return Examples(
            side_by_side.embed_pairs(
                [self.paths[photo] for photo in photos], chosen, self.embedder
            ),
            alone.shows[chosen[:, 0]] | alone.shows[chosen[:, 1]],
            alone.folds[chosen[:, 0]],
        )

    def halves(self, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Photographs that calibrate and photographs that are tested."""
        shuffled = [
            random.permutation(np.flatnonzero(self.labels == label))
            for label in range(len(self.names))
        ]
        return (
            np.concatenate([some[:N_CALIBRATING] for some in shuffled]),
            np.concatenate([some[N_CALIBRATING:] for some in shuffled]),
        )


@pytest.fixture(scope="module")
def cifar() -> Cifar:
    return Cifar()


def composite(left: str, right: str, path: Path) -> str:
    canvas = Image.new("RGB", (64, 64), (128, 128, 128))
    canvas.paste(Image.open(left), (0, 16))
    canvas.paste(Image.open(right), (32, 16))
    canvas.save(path)
    return str(path)


def mean_f1(given: NDArray[np.bool_], shows: NDArray[np.bool_], axis: int) -> float:
    """Over pictures (axis 1) or over labels (axis 0), of bool [n, n_labels]."""
    both = (given & shows).sum(axis)
    return float((2 * both / np.maximum(given.sum(axis) + shows.sum(axis), 1)).mean())


def best_cosine_threshold(
    cosines: NDArray[np.float64], shows: NDArray[np.bool_], axis: int
) -> float:
    candidates = np.unique(cosines)
    candidates = candidates[:: max(1, len(candidates) // 500)]
    f1s = [mean_f1(cosines >= threshold, shows, axis) for threshold in candidates]
    return float(candidates[np.argmax(f1s)])


def given_labels(
    labelled: list[tuple[Prediction, ...]], names: tuple[str, ...]
) -> NDArray[np.bool_]:
    return np.array([[name in {one.label for one in some} for name in names] for some in labelled])


@pytest.mark.shared
def test_calibrated_labels_beat_the_best_single_cosine_threshold_on_composites(
    cifar: Cifar, tmp_path: Path
) -> None:
    every = np.arange(len(cifar.names))
    classifier = cifar.classifier(every)
    scores: dict[str, list[float]] = {}
    for seed in range(N_SEEDS):
        random = np.random.default_rng(seed)
        calibrating, tested = cifar.halves(random)
        alone = cifar.alone(calibrating, every)
        in_pairs = cifar.in_pairs(calibrating, alone)
        fitted = calibration.fit(classifier, cifar.backgrounds, alone, in_pairs)
        chosen = [random.choice(tested, 2, replace=False) for _ in range(N_COMPOSITES)]
        embeddings = cifar.embed(
            composite(cifar.paths[left], cifar.paths[right], tmp_path / f"{seed}-{number}.png")
            for number, (left, right) in enumerate(chosen)
        )
        shows = np.array([np.isin(every, cifar.labels[pair]) for pair in chosen])
        judged = multi_label.label_photos(
            embeddings, MultiLabelClassifier(classifier, cifar.backgrounds, fitted)
        )
        given = given_labels(judged, classifier.names)
        cosines = classifier.label_cosines(embeddings)
        for axis, kind in ((1, "composites"), (0, "labels")):
            scores.setdefault(f"calibrated, {kind}", []).append(mean_f1(given, shows, axis))
            both = [alone, in_pairs]
            for name, parts in (("pairs", [in_pairs]), ("alone", [alone]), ("both", both)):
                threshold = best_cosine_threshold(
                    np.concatenate([classifier.label_cosines(p.embeddings) for p in parts]),
                    np.concatenate([part.shows for part in parts]),
                    axis,
                )
                scores.setdefault(f"threshold of {name}, {kind}", []).append(
                    mean_f1(cosines >= threshold, shows, axis)
                )
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    print(means)
    for kind in ("composites", "labels"):
        for name in ("pairs", "alone", "both"):
            assert means[f"calibrated, {kind}"] > means[f"threshold of {name}, {kind}"]


@pytest.mark.shared
def test_unknown_catches_labels_that_were_left_out(cifar: Cifar) -> None:
    caught, rejected = [], []
    for seed in range(N_SEEDS):
        random = np.random.default_rng(seed)
        calibrating, tested = cifar.halves(random)
        kept = np.sort(random.permutation(len(cifar.names))[3:])
        classifier = cifar.classifier(kept)
        known = calibrating[np.isin(cifar.labels[calibrating], kept)]
        alone = cifar.alone(known, kept)
        fitted = calibration.fit(classifier, cifar.backgrounds, alone)
        judged = multi_label.label_photos_that_fit(
            cifar.embeddings[tested],
            MultiLabelClassifier(classifier, cifar.backgrounds, fitted),
            unknown=UNKNOWN,
        )
        is_unknown = np.array([predictions[0].label == UNKNOWN for predictions in judged])
        is_left_out = ~np.isin(cifar.labels[tested], kept)
        caught.append(is_unknown[is_left_out].mean())
        rejected.append(is_unknown[~is_left_out].mean())
    print(f"caught {np.mean(caught):.1%}, rejected {np.mean(rejected):.1%}")
    assert np.mean(caught) >= 0.65
    assert np.mean(rejected) <= 0.12
