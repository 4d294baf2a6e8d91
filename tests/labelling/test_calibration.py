"""Thresholds from labelled photographs, measured on others, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from clipcli.errors import UsageError
from clipcli.labelling import calibration, calibration_file, multi_label, side_by_side
from clipcli.labelling.calibration import Examples, HeldOutRates, Rates
from clipcli.labelling.calibration_file import Calibration
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.multi_label import MultiLabelClassifier, Thresholds
from clipcli.labels.label import Label, Text
from clipcli.models.score import Score
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import MadeBy

Embedding = NDArray[np.float32]
N_LABELS = 4
DIMENSIONS = 16


def unit(array: Any) -> Embedding:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def space(seed: int) -> tuple[Classifier, Embedding, np.random.Generator]:
    """Labels and backgrounds in no order of any kind."""
    random = np.random.default_rng(seed)
    texts = unit(random.normal(size=(N_LABELS, DIMENSIONS)))
    backgrounds = unit(random.normal(size=(6, DIMENSIONS)))
    return Classifier(tuple("abcd"), texts, Score(20.0)), backgrounds, random


def examples(classifier: Classifier, random: np.random.Generator, n_each: int = 10) -> Examples:
    """Pictures near the label that they show, more or less."""
    labels = np.repeat(np.arange(N_LABELS), n_each)
    noise = random.normal(size=(len(labels), DIMENSIONS))
    return Examples(
        unit(classifier.embeddings[labels] + 0.35 * noise),
        np.eye(N_LABELS, dtype=bool)[labels],
        calibration.stratified_folds(labels),
    )


def standard_contrasts(
    classifier: Classifier, backgrounds: Embedding, known: Examples
) -> tuple[np.ndarray, float, float]:
    contrasts = multi_label.contrasts(known.embeddings, classifier, backgrounds)
    mean, spread = contrasts.mean(), contrasts.std()
    return (contrasts - mean) / spread, mean, spread


def balanced(shows: np.ndarray) -> np.ndarray:
    return np.where(shows, 0.5 / shows.mean(), 0.5 / (1 - shows.mean()))


def test_the_fit_is_the_one_that_scikit_learn_and_scipy_find() -> None:
    classifier, backgrounds, random = space(0)
    known = examples(classifier, random)
    fitted = calibration.fit(classifier, backgrounds, known)
    values, mean, spread = standard_contrasts(classifier, backgrounds, known)
    weights = np.stack([balanced(column) for column in known.shows.T], axis=1)
    rows = np.stack([np.ones(values.size), values.ravel()], axis=1)
    model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    model.fit(rows, known.shows.ravel(), sample_weight=weights.ravel())
    shared = model.coef_[0]
    for label in range(N_LABELS):

        def loss(line: np.ndarray, label: int = label) -> float:
            signs = np.where(known.shows[:, label], 1, -1)
            logits = line[0] + line[1] * values[:, label]
            fit = (weights[:, label] * np.log1p(np.exp(-signs * logits))).sum()
            return float(fit + ((line - shared) ** 2).sum() / 2)

        best = minimize(loss, shared, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
        intercept, slope = best.x
        assert fitted.thresholds[label] == pytest.approx(
            mean - spread * intercept / slope, abs=1e-4
        )
        assert fitted.temperatures[label] == pytest.approx(spread / slope, rel=1e-3)


def test_pictures_of_several_labels_move_the_thresholds() -> None:
    classifier, backgrounds, random = space(1)
    known = examples(classifier, random)
    couples = np.array([(row, (row + 10) % 40) for row in range(40)])
    both = Examples(
        unit(known.embeddings[couples].sum(axis=1)),
        known.shows[couples].any(axis=1),
        known.folds[couples[:, 0]],
    )
    alone = calibration.fit(classifier, backgrounds, known)
    with_pairs = calibration.fit(classifier, backgrounds, known, both)
    # what is there beside something else is less near, so that less has to do
    assert (with_pairs.thresholds < alone.thresholds).all()
    assert with_pairs.none_below == alone.none_below


def test_a_label_never_gets_likelier_by_fitting_less() -> None:
    classifier, backgrounds, random = space(2)
    known = examples(classifier, random)
    embeddings = known.embeddings.copy()
    embeddings[known.shows[:, 0]] = unit(
        embeddings[known.shows[:, 0]] - 2 * classifier.embeddings[0]
    )
    fitted = calibration.fit(
        classifier, backgrounds, Examples(embeddings, known.shows, known.folds)
    )
    assert (fitted.temperatures > 0).all()
    assert fitted.temperatures[0] == max(fitted.temperatures)


def test_photographs_that_do_not_resemble_their_labels_are_refused() -> None:
    classifier, backgrounds, random = space(3)
    known = examples(classifier, random)
    away = Examples(unit(-known.embeddings), known.shows, known.folds)
    with pytest.raises(UsageError, match="no nearer to their own labels than to others"):
        calibration.fit(classifier, backgrounds, away)


def test_folds_are_even_over_labels_and_the_same_every_time() -> None:
    labels = np.array([0] * 10 + [1] * 7 + [2] * 2)
    folds = calibration.stratified_folds(labels)
    assert (folds == calibration.stratified_folds(labels)).all()
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_one_in_ten_of_photographs_like_the_known_ones_is_called_unknown() -> None:
    cosines = np.random.default_rng(0).normal(size=(2000, 71))
    known, new = cosines[:, :-1], cosines[:, -1]
    rejected = np.mean(
        [one < calibration.none_below(row) for row, one in zip(known, new, strict=True)]
    )
    assert rejected == pytest.approx(7 / 71, abs=0.02)
    assert calibration.none_below(np.array([0.3, 0.1, 0.2])) == 0.1


def test_what_is_measured_was_held_out_of_the_fit() -> None:
    classifier, backgrounds, random = space(4)
    known = examples(classifier, random)
    measured = calibration.measure(classifier, backgrounds, known)
    given = np.zeros_like(known.shows)
    for fold in range(5):
        rest = known.folds != fold
        fitted = calibration.fit(
            classifier,
            backgrounds,
            Examples(known.embeddings[rest], known.shows[rest], known.folds[rest]),
        )
        judged = MultiLabelClassifier(classifier, backgrounds, fitted)
        given[~rest] = multi_label.probabilities(known.embeddings[~rest], judged) >= 0.5
    assert measured.alone == Rates(given[~known.shows].mean(), 1 - given[known.shows].mean())
    assert measured.per_label[2] == Rates(
        given[~known.shows[:, 2], 2].mean(), 1 - given[known.shows[:, 2], 2].mean()
    )
    assert measured.in_pairs is None
    assert (measured.n_photos, measured.n_pairs) == (40, 0)


def test_labels_by_chance_are_measured_as_chance() -> None:
    classifier, backgrounds, random = space(5)
    known = examples(classifier, random, n_each=100)
    shuffled = random.permutation(known.shows)
    shuffled[::10] = known.shows[::10]  # some right, or nothing could be fitted
    measured = calibration.measure(
        classifier, backgrounds, Examples(known.embeddings, shuffled, known.folds)
    )
    assert measured.alone.wrong_accepts is not None
    assert measured.alone.wrong_rejects is not None
    assert measured.alone.wrong_accepts + measured.alone.wrong_rejects > 0.8


def test_a_pair_is_of_one_fold_and_of_two_labels() -> None:
    labels = np.repeat(np.arange(5), 10)
    folds = calibration.stratified_folds(labels)
    chosen = side_by_side.choose_pairs(labels, folds, 4)
    assert (folds[chosen[:, 0]] == folds[chosen[:, 1]]).all()
    assert (labels[chosen[:, 0]] != labels[chosen[:, 1]]).all()
    assert len({frozenset(pair) for pair in chosen.tolist()}) == len(chosen)
    assert 60 <= len(chosen) <= 100
    assert (chosen == side_by_side.choose_pairs(labels, folds, 4)).all()
    assert side_by_side.choose_pairs(labels, folds, 0).shape == (0, 2)


def test_a_pair_is_drawn_whole_on_the_mean_colour() -> None:
    left, right = (np.full((32, 32, 3), value, dtype=np.uint8) for value in (10, 200))
    square = side_by_side.side_by_side(left, right, PreprocessConfig(64))
    assert square.shape == (64, 64, 3)
    assert (square[16:48, :32] == 10).all()
    assert (square[16:48, 32:] == 200).all()
    assert (square[:16] == [123, 117, 104]).all()
    assert (square[48:] == [123, 117, 104]).all()


CALIBRATION = Calibration(
    made_by=MadeBy(
        "lite", "ab" * 32, "fp32", "crop", templates=("a photo of a {}.", "a drawing of a {}.")
    ),
    backgrounds=multi_label.BACKGROUND_PROMPTS,
    labels=(
        Label("pet", (Text("cat"), Text("dog")), is_any=True),
        Label("猫", (Text("a photo of a cat.", is_prompt=True),)),
    ),
    thresholds=Thresholds(np.array([0.1, 1 / 3]), np.array([0.02, 0.05]), 0.2),
    measured=HeldOutRates(
        20, 60, Rates(0.1, 0.2), Rates(0.3, None), (Rates(0.0, 1.0),) * 2, 0.1, 0.25
    ),
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "pets.json"
    path.write_text(calibration_file.to_json(CALIBRATION), encoding="utf-8")
    return path


def test_a_file_gives_back_what_was_written(written: Path) -> None:
    given = calibration_file.read_calibration(str(written))
    assert given.thresholds.thresholds.tolist() == [0.1, 1 / 3]
    assert given.thresholds.temperatures.tolist() == [0.02, 0.05]
    assert given.thresholds.none_below == 0.2
    assert replace(given, thresholds=CALIBRATION.thresholds) == CALIBRATION
    assert json.loads(written.read_text(encoding="utf-8"))["labels"][0]["threshold"] == 0.1


MEASURED = json.loads(calibration_file.to_json(CALIBRATION))["measured"]
RATES = MEASURED["alone"]
DAMAGES: dict[str, Any] = {
    "another version": ("format", "clipcli calibration 9"),
    "no threshold": ("none_below", None),
    "a number that is none": ("none_below", float("nan")),
    "an infinite number": ("none_below", float("inf")),
    "a list of labels that is none": ("labels", "pet"),
    "no labels": ("labels", []),
    "labels that are no objects": ("labels", [1, 2]),
    "a label without its numbers": ("labels", [{"name": "pet", "texts": [], "is_any": False}]),
    "templates that are one text": ("templates", "a photo of a {}."),
    "no backgrounds": ("backgrounds", []),
    "a model without a name": ("model", 3),
    "rates that are none": ("measured", {"alone": 1}),
    "a rate that is no number": ("measured", MEASURED | {"strangers_accepted": float("nan")}),
    "a rate that is a text": ("measured", MEASURED | {"alone": RATES | {"wrong_rejects": "few"}}),
    "no JSON where nothing looks": ("pairs", float("-inf")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(written: Path, damage: str) -> None:
    fields = json.loads(written.read_text(encoding="utf-8"))
    name, value = DAMAGES[damage]
    written.write_text(json.dumps(fields | {name: value}))
    with pytest.raises(UsageError, match=r"expected a file that clipcli calibrate has") as refused:
        calibration_file.read_calibration(str(written))
    assert str(written) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("field", ["threshold", "temperature", "name", "texts", "is_any"])
def test_a_label_without_one_of_its_fields_is_refused(written: Path, field: str) -> None:
    fields = json.loads(written.read_text(encoding="utf-8"))
    del fields["labels"][0][field]
    written.write_text(json.dumps(fields))
    with pytest.raises(UsageError, match=f"'{field}' is missing"):
        calibration_file.read_calibration(str(written))


@pytest.mark.parametrize("temperature", [0, -1, True, "warm"])
def test_a_temperature_that_is_none_is_refused(written: Path, temperature: object) -> None:
    fields = json.loads(written.read_text(encoding="utf-8"))
    fields["labels"][1]["temperature"] = temperature
    written.write_text(json.dumps(fields))
    with pytest.raises(UsageError, match="damaged"):
        calibration_file.read_calibration(str(written))


def test_files_that_are_no_calibration_are_refused(tmp_path: Path) -> None:
    contents = {"empty": b"", "text": b"dog\ncat\n", "list": b"[1]", "deep": b"[" * 100_000}
    for name, content in (contents | {"binary": b"\x80\x04K\x01."}).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match="expected a file that clipcli calibrate has"):
            calibration_file.read_calibration(str(tmp_path / name))
    with pytest.raises(UsageError, match="No such file"):
        calibration_file.read_calibration(str(tmp_path / "missing.json"))


def test_a_number_beyond_all_floats_is_refused(written: Path) -> None:
    text = written.read_text(encoding="utf-8").replace('"threshold": 0.1', '"threshold": 1e999')
    written.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="no JSON: 1e999 in place of a number"):
        calibration_file.read_calibration(str(written))
