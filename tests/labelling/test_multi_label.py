"""Labels judged one by one, and photographs that none of them fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.labelling import multi_label, zero_shot
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.multi_label import MultiLabelClassifier, Thresholds
from clipcli.labels.label import DEFAULT_TEMPLATE, parse_labels, read_labels_file
from clipcli.models.score import Score
from clipcli.records import Embedded, Photo

Embedding = NDArray[np.float32]
LABELS = "astronaut,cat,coffee,galaxies,rocket,tiger,sunset"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.open("lite", precision="fp32", remember=False)


@pytest.fixture(scope="module")
def judged(embedder: Embedder) -> MultiLabelClassifier:
    return judge_of(embedder, LABELS)


@pytest.fixture(scope="module")
def photographs(embedder: Embedder, example_photos: Path) -> dict[str, Embedding]:
    """The example photographs by name: unit float32 [d]."""
    paths = [Photo(str(path)) for path in sorted(example_photos.glob("*.jpg"))]
    records = embedder.embed_photos(paths)
    return {Path(one.path).stem: one.embedding for one in records if isinstance(one, Embedded)}


def judge_of(embedder: Embedder, labels: str) -> MultiLabelClassifier:
    classifier = build_classifier(embedder, parse_labels([labels]), [DEFAULT_TEMPLATE])
    return MultiLabelClassifier(classifier, embedder.encode_texts(multi_label.BACKGROUND_PROMPTS))


def unit(*rows: list[float]) -> Embedding:
    array = np.array(rows, dtype=np.float64)
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def plain(
    fitted: Thresholds | None = None, n_classes: tuple[int, ...] = ()
) -> MultiLabelClassifier:
    """Two labels along the first two axes, two backgrounds away from them."""
    names = ("a", "b") if not n_classes else tuple("ab"[: len(n_classes)])
    classifier = Classifier(names, unit([1, 0, 0], [0, 1, 0]), Score(10.0), n_classes)
    return MultiLabelClassifier(classifier, unit([1, -1, 1], [0, 0, 1]), fitted)


def test_real_photographs_get_the_labels_that_are_there(
    judged: MultiLabelClassifier, photographs: dict[str, Embedding]
) -> None:
    for name in ("astronaut", "cat", "coffee", "rocket"):
        (given,) = multi_label.label_photos(photographs[name][None], judged)
        assert given[0].label == name


def test_no_label_is_there_that_is_not(
    embedder: Embedder, photographs: dict[str, Embedding]
) -> None:
    subjects = ("astronaut", "cat", "coffee", "rocket")
    judge = judge_of(embedder, ",".join(subjects))
    labelled = multi_label.label_photos(
        np.stack(list(photographs.values())), judge, unknown="other"
    )
    given = dict(zip(photographs, labelled, strict=True))
    assert {name: [one.label for one in given[name]] for name in subjects} == {
        name: [name] for name in subjects
    }
    assert [one.label for name in ("galaxies", "photographer") for one in given[name]] == [
        "other",
        "other",
    ]


def test_lites_doubt_shows_in_its_probabilities(
    judged: MultiLabelClassifier, photographs: dict[str, Embedding]
) -> None:
    """An astronaut between a flag and a shuttle is less surely there than a cat that fills all."""
    both = np.stack([photographs["astronaut"], photographs["cat"]])
    chances = multi_label.probabilities(both, judged)
    assert 0.5 < chances[0, 0] < 0.8 < chances[1, 1] < 0.99
    assert chances[1, 0] < 0.3  # an astronaut in a cat


def test_a_label_is_judged_alike_whatever_the_others_are(
    embedder: Embedder, judged: MultiLabelClassifier, photographs: dict[str, Embedding]
) -> None:
    embeddings = np.stack(list(photographs.values()))
    alone = multi_label.probabilities(embeddings, judge_of(embedder, "cat"))
    among = multi_label.probabilities(embeddings, judged)
    assert np.allclose(alone[:, 0], among[:, 1], rtol=0, atol=1e-6)


def test_the_probability_is_a_softmax_against_the_average_background() -> None:
    embeddings = unit([3, 1, 1], [0, 1, 2])
    given = multi_label.probabilities(embeddings, plain())
    for row, (x, y, z) in enumerate([(3, 1, 1), (0, 1, 2)]):
        length = (x * x + y * y + z * z) ** 0.5
        backgrounds = [(x - y + z) / length / 3**0.5, z / length]
        average = sum(np.exp(10 * cosine) for cosine in backgrounds) / 2
        for label, part in enumerate((x, y)):
            odds = np.exp(10 * part / length) / average
            assert given[row, label] == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_a_calibrated_probability_is_one_half_at_the_threshold() -> None:
    embeddings = unit([3, 1, 1])
    bare = plain()
    (contrast,) = multi_label.contrasts(embeddings, bare.classifier, bare.backgrounds)
    x, y, z = (part / 11**0.5 for part in (3, 1, 1))
    opposing = ((x + y) / 2 + ((x - y + z) / 3**0.5 + z) / 2) / 2
    assert contrast == pytest.approx([x - opposing, y - opposing], abs=1e-6)
    fitted = Thresholds(contrast - [0.0, 0.2], np.array([0.1, 0.1]), -1.0)
    given = multi_label.probabilities(embeddings, plain(fitted))
    assert given[0] == pytest.approx([0.5, 1 / (1 + np.exp(-2))], abs=1e-9)


def test_a_label_of_several_words_is_there_with_the_best_of_them(
    embedder: Embedder, photographs: dict[str, Embedding], tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("pet = any: cat | dog\nrocket\n")
    labels = read_labels_file(str(tmp_path / "labels.txt"))
    classifier = build_classifier(embedder, labels, [DEFAULT_TEMPLATE])
    cat = photographs["cat"][None]
    apart = judge_of(embedder, "cat,dog,rocket").classifier
    best, dog, rocket = apart.label_cosines(cat)[0]
    assert best > dog
    assert classifier.label_cosines(cat)[0].tolist() == [best, rocket]


def test_all_labels_that_are_there_come_best_first() -> None:
    (given,) = multi_label.label_photos(unit([1, 1.2, 0]), plain())
    assert [one.label for one in given] == ["b", "a"]
    assert given[0].probability > given[1].probability > 0.5
    assert given[1].similarity == pytest.approx(1 / (1 + 1.2**2) ** 0.5)
    (first,) = multi_label.label_photos(unit([1, 1.2, 0]), plain(), top_k=1)
    assert first == given[:1]


def test_a_higher_bar_lets_fewer_labels_in() -> None:
    both = unit([1, 1.2, 0])
    chances = multi_label.probabilities(both, plain())[0]
    (given,) = multi_label.label_photos(both, plain(), min_probability=float(chances.mean()))
    assert [one.label for one in given] == ["b"]


def test_a_photograph_without_a_label_is_unknown_or_empty_never_missing() -> None:
    embeddings = unit([0, 0, 1], [1, 0, 0])
    empty, kept = multi_label.label_photos(embeddings, plain())
    assert empty == ()
    assert [one.label for one in kept] == ["a"]
    named, also_kept = multi_label.label_photos(embeddings, plain(), unknown="other")
    assert [one.label for one in named] == ["other"]
    best = multi_label.probabilities(embeddings, plain())[0].max()
    assert named[0].probability == pytest.approx(1 - best)
    assert named[0].similarity == 0
    assert also_kept == kept


def test_photographs_that_fit_keep_their_softmax_labels(
    judged: MultiLabelClassifier, photographs: dict[str, Embedding]
) -> None:
    embeddings = np.stack([photographs[name] for name in ("cat", "coffee", "rocket")])
    given = multi_label.label_photos_that_fit(embeddings, judged, top_k=2, unknown="other")
    assert given == zero_shot.label_photos(embeddings, judged.classifier, 2)


def test_a_photograph_of_something_else_fits_none(
    embedder: Embedder, photographs: dict[str, Embedding]
) -> None:
    judged = judge_of(embedder, "tiger,sunset,teapot")
    embeddings = photographs["coffee"][None]
    (given,) = multi_label.label_photos_that_fit(embeddings, judged, unknown="other")
    assert [one.label for one in given] == ["other"]
    assert zero_shot.label_photos(embeddings, judged.classifier, 1)[0][0].label == "teapot"


def test_a_calibrated_cosine_decides_whether_a_photograph_fits() -> None:
    embeddings = unit([1, 0, 1], [1, 0, 1.1])
    fitted = Thresholds(np.zeros(2), np.ones(2), float(np.float32(0.5**0.5)) - 1e-3)
    at, below = multi_label.label_photos_that_fit(embeddings, plain(fitted), unknown="other")
    assert (at[0].label, below[0].label) == ("a", "other")
    gap = fitted.none_below - below[0].similarity
    assert below[0].probability == pytest.approx(1 / (1 + np.exp(-10 * gap)), abs=1e-6)


def test_a_photograph_at_the_very_threshold_fits() -> None:
    embeddings = unit([1, 0, 1])
    cosine = plain().classifier.label_cosines(embeddings).max()
    fitted = Thresholds(np.zeros(2), np.ones(2), float(cosine))
    ((given,),) = multi_label.label_photos_that_fit(embeddings, plain(fitted), unknown="other")
    assert given.label == "a"


def test_a_minimum_probability_leaves_out_what_is_below_it() -> None:
    embeddings = unit([1, 0.99, 0], [1, 0, 0])
    unsure, sure = multi_label.label_photos_that_fit(
        embeddings, plain(), top_k=2, min_probability=0.6, unknown="other"
    )
    assert [one.label for one in unsure] == ["other"]
    assert [one.label for one in sure] == ["a"]
    best = zero_shot.label_photos(embeddings, plain().classifier, 1)[0][0]
    assert unsure[0].probability == pytest.approx(1 - best.probability)
    assert multi_label.label_photos_that_fit(embeddings, plain(), 2, 0.6)[0] == ()


def test_a_calibration_and_a_minimum_probability_both_have_to_be_met() -> None:
    fitted = Thresholds(np.zeros(2), np.ones(2), 0.9)
    embeddings = unit([1, 0, 0], [1, 0.99, 0], [1, 0, 2])
    given = multi_label.label_photos_that_fit(embeddings, plain(fitted), 1, 0.6, "other")
    assert [some[0].label for some in given] == ["a", "other", "other"]


@pytest.mark.parametrize("temperature", [1e-9, 1e9])
def test_extreme_temperatures_give_probabilities(temperature: float) -> None:
    fitted = Thresholds(np.zeros(2), np.full(2, temperature), 0.0)
    chances = multi_label.probabilities(unit([1, 0, 0], [0, 0, 1]), plain(fitted))
    assert ((chances >= 0) & (chances <= 1)).all()
