"""The probe against scikit-learn's logistic regression, and its promises about zero-shot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clipcli.errors import UsageError
from clipcli.evaluation import learning_curve
from clipcli.files.part_file import PartFile
from clipcli.labelling import probe_file, probe_fit
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.probe import Probe, ProbeOrigin
from clipcli.labelling.zero_shot import label_photos
from clipcli.models.score import Score
from clipcli.records import MadeBy

N_LABELS, WIDTH = 6, 24
MADE_BY = MadeBy("small.pt", "a" * 64, "fp32", "crop", templates=("a {}.",))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def world(n_shots: int, words: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Classifier]:
    """Photographs around one centre a label; texts that point at the centres as far as `words`."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(N_LABELS, WIDTH))
    truth = np.repeat(np.arange(N_LABELS), n_shots)
    photos = centres[truth] + 0.8 * random.normal(size=(len(truth), WIDTH)) + 1.0
    texts = words * centres + (1 - words) * random.normal(size=centres.shape) - 1.0
    names = tuple(f"label {row}" for row in range(N_LABELS))
    return unit(photos), truth, Classifier(names, unit(texts), Score(20.0))


def fit(n_shots: int, words: float) -> tuple[Probe, np.ndarray, np.ndarray, Classifier]:
    x, truth, classifier = world(n_shots + 40, words)
    taught = np.arange(len(x)) % (n_shots + 40) < n_shots
    fitted = probe_fit.fit_probe(x[taught], truth[taught], classifier, MADE_BY)
    return fitted, x[~taught], truth[~taught], classifier


def accuracy(weights: np.ndarray, x: np.ndarray, truth: np.ndarray) -> float:
    return float(((x @ weights.T).argmax(axis=1) == truth).mean())


@pytest.mark.parametrize("strength", [0.25, 4.0, 64.0])
def test_without_words_it_is_scikit_learns_logistic_regression(strength: float) -> None:
    x, truth, _ = world(8, 0.0)
    nothing = np.zeros((len(x), N_LABELS))
    ours = probe_fit.minimise(
        x.astype(float), nothing, truth, strength, np.zeros((N_LABELS, WIDTH)), 1e-8
    )
    theirs = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000)
    theirs.fit(x.astype(float), truth)
    np.testing.assert_allclose(ours, theirs.coef_, atol=1e-4)


def test_the_gradient_is_zero_where_words_are_the_start() -> None:
    """The optimality condition, written out: learned = C * sum of (truth - p) x."""
    x, truth, classifier = world(4, 0.7)
    photos = x.astype(float)
    offsets = 20.0 * photos @ classifier.embeddings.astype(float).T
    learned = probe_fit.minimise(photos, offsets, truth, 2.0, np.zeros((N_LABELS, WIDTH)), 1e-9)
    logits = offsets + photos @ learned.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = 2.0 * (np.eye(N_LABELS)[truth] - p).T @ photos
    np.testing.assert_allclose(learned, expected, atol=1e-5)


@pytest.mark.parametrize("n_shots", [1, 2, 4, 8])
def test_good_words_are_not_made_worse_by_few_photographs(n_shots: int) -> None:
    fitted, x, truth, classifier = fit(n_shots, 0.8)
    assert accuracy(fitted.weights, x, truth) >= accuracy(classifier.embeddings, x, truth)


def test_words_that_say_nothing_do_not_hold_it_back() -> None:
    fitted, x, truth, classifier = fit(8, 0.0)
    x_taught, truth_taught, _ = world(48, 0.0)
    taught = np.arange(len(x_taught)) % 48 < 8
    plain = LogisticRegression(max_iter=1000).fit(x_taught[taught], truth_taught[taught])
    assert accuracy(classifier.embeddings, x, truth) < 0.4
    assert accuracy(fitted.weights, x, truth) > plain.score(x, truth) - 0.03
    assert fitted.origin.words_share < 0.5


def test_a_label_without_photographs_keeps_its_words() -> None:
    x, truth, classifier = world(4, 0.8)
    some = truth != 3
    fitted = probe_fit.fit_probe(x[some], truth[some], classifier, MADE_BY)
    np.testing.assert_allclose(fitted.weights[3], 20 * classifier.embeddings[3], rtol=1e-6)
    assert fitted.origin.shots == (4, 4, 4, 0, 4, 4)


def test_accuracies_are_of_held_out_photographs() -> None:
    fitted, _, _, _ = fit(4, 0.5)
    assert fitted.origin.accuracy is not None
    assert fitted.origin.zero_shot_accuracy is not None
    one_shot, _, _, _ = fit(1, 0.5)
    assert one_shot.origin.accuracy is None


def test_photographs_of_one_label_teach_nothing() -> None:
    x, truth, classifier = world(4, 0.5)
    with pytest.raises(UsageError, match="photographs of label 2 alone; expected some of at least"):
        probe_fit.fit(x[truth == 2], truth[truth == 2], classifier)


def test_an_untaught_probe_answers_as_zero_shot() -> None:
    x, _, classifier = world(3, 0.5)
    origin = ProbeOrigin(MADE_BY, (0,) * N_LABELS, 0.0, 1.0, None, None)
    scaled = (20 * classifier.embeddings).astype(np.float32)
    untaught = Probe(classifier.names, scaled, classifier.embeddings, origin)
    for ours, theirs in zip(
        untaught.label_photos(x, 3), label_photos(x, classifier, 3), strict=True
    ):
        assert [one.label for one in ours] == [one.label for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
            assert one.similarity == pytest.approx(other.similarity, abs=1e-7)


def test_a_probe_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    fitted, x, _, _ = fit(2, 0.5)
    file = PartFile(tmp_path / "a.probe")
    probe_file.write_probe(fitted, file)
    file.commit()
    back = probe_file.read_probe(str(tmp_path / "a.probe"))
    assert back.origin == fitted.origin
    assert back.labels == fitted.labels
    assert back.label_photos(x, 2) == fitted.label_photos(x, 2)


def test_a_probe_file_with_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    fitted, *_ = fit(4, 0.9)
    path = tmp_path / "a.probe"
    for changed in (
        replace(fitted, weights=fitted.weights * np.float32(np.nan)),
        replace(fitted, text_embeddings=fitted.text_embeddings * np.float32(np.inf)),
    ):
        file = PartFile(path)
        probe_file.write_probe(changed, file)
        file.commit()
        with pytest.raises(UsageError, match="hold numbers that are not finite"):
            probe_file.read_probe(str(path))
    file = PartFile(path)
    probe_file.write_probe(fitted, file)
    file.commit()
    content = path.read_bytes()
    digits = f'"words_share\\": {fitted.origin.words_share}'.encode()
    assert digits in content
    path.write_bytes(content.replace(digits, b'"words_share\\": NaN'.ljust(len(digits))))
    with pytest.raises(UsageError, match="NaN in place of a number"):
        probe_file.read_probe(str(path))


def test_the_curve_tests_only_what_was_not_taught() -> None:
    x, truth, classifier = world(5, 0.9)
    assert learning_curve.most_shots(truth) == 4
    one, four = learning_curve.learning_curve(x, truth, classifier, [1, 4], n_splits=3, seed=0)
    assert (one.shots, four.shots) == (1, 4)
    for point in (one, four):
        assert point.probe_interval.low <= point.probe <= point.probe_interval.high
        assert point.gain == pytest.approx(point.probe - point.zero_shot)
    again = learning_curve.learning_curve(x, truth, classifier, [4], n_splits=3, seed=0)
    assert next(again) == four
