"""Figures against scikit-learn's, published ones, and float64 written out by hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from clipcli.evaluation import metrics

N_LABELS = 7
Answers = tuple[metrics.Indices, metrics.Indices]


@pytest.fixture
def answers() -> Answers:
    """Truth and prediction of 500 photographs; right 70 times in a hundred, labels uneven."""
    rng = np.random.default_rng(3)
    truth = rng.choice(N_LABELS, 500, p=np.arange(1, N_LABELS + 1) / 28)
    wrong = rng.integers(0, N_LABELS, 500)
    return truth, np.where(rng.random(500) < 0.7, truth, wrong)


def test_the_confusion_matrix_is_scikit_learns(answers: Answers) -> None:
    ours = metrics.confusion_matrix(*answers, N_LABELS)
    np.testing.assert_array_equal(ours, confusion_matrix(*answers, labels=range(N_LABELS)))


def test_precision_and_recall_are_scikit_learns(answers: Answers) -> None:
    confusion = metrics.confusion_matrix(*answers, N_LABELS)
    np.testing.assert_allclose(
        metrics.precisions(confusion), precision_score(*answers, average=None)
    )
    np.testing.assert_allclose(metrics.recalls(confusion), recall_score(*answers, average=None))
    assert metrics.mean_recall(confusion) == pytest.approx(balanced_accuracy_score(*answers))


def test_f1_is_scikit_learns_and_its_mean_leaves_out_labels_without_photographs() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 2])
    confusion = metrics.confusion_matrix(truth, predicted, 4)  # no photograph of 2, nothing of 3
    expected = f1_score(truth, predicted, labels=range(4), average=None, zero_division=np.nan)
    np.testing.assert_allclose(metrics.f1s(confusion), expected)
    of_shown = f1_score(truth, predicted, labels=[0, 1], average="macro")
    assert metrics.macro_f1(confusion) == pytest.approx(of_shown)


def test_a_label_never_seen_or_never_answered_has_no_share() -> None:
    confusion = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 2]), 3)
    np.testing.assert_array_equal(metrics.recalls(confusion), [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(metrics.precisions(confusion), [1.0, np.nan, 0.0])
    assert metrics.mean_recall(confusion) == 0.25


# Newcombe 1998, Statistics in Medicine 17, table I, method 3
@pytest.mark.parametrize(
    ("n_right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_as_published(n_right: int, n: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(n_right, n) == pytest.approx((low, high), abs=5e-5)
    mirrored = metrics.wilson_interval(n - n_right, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_paired_interval_is_agrestis_and_mins() -> None:
    right = np.array([True] * 60 + [False] * 40)
    other = np.array([True] * 50 + [False] * 10 + [True] * 25 + [False] * 15)
    n_gained, n_lost, n = 25.5, 10.5, 102.0
    difference = (n_gained - n_lost) / n
    error = math.sqrt((n_gained + n_lost - (n_gained - n_lost) ** 2 / n) / n**2)
    z = NormalDist().inv_cdf(0.975)
    low, high = metrics.paired_interval(right, other)
    assert (low, high) == pytest.approx((difference - z * error, difference + z * error))
    assert metrics.paired_interval(other, right) == pytest.approx((-high, -low))


def test_the_paired_interval_is_near_the_bootstraps() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(1000) < 0.7
    other = np.where(rng.random(1000) < 0.8, right, rng.random(1000) < 0.8)
    drawn = rng.integers(0, 1000, (4000, 1000))
    differences = other[drawn].mean(axis=1) - right[drawn].mean(axis=1)
    expected = np.quantile(differences, [0.025, 0.975])
    assert metrics.paired_interval(right, other) == pytest.approx(expected, abs=0.003)


def test_the_paired_interval_holds_the_true_difference_19_times_in_20() -> None:
    rng = np.random.default_rng(1)
    outcomes = rng.choice(4, (4000, 50), p=[0.5, 0.2, 0.1, 0.2])  # both, second, first, neither
    held = 0
    for one in outcomes:
        low, high = metrics.paired_interval((one == 0) | (one == 2), (one == 0) | (one == 1))
        held += low <= 0.1 <= high
    assert 0.93 <= held / len(outcomes) <= 0.97


def test_answers_that_never_differ_leave_some_doubt() -> None:
    right = np.ones(20, dtype=bool)
    low, high = metrics.paired_interval(right, right)
    assert low == -high < 0


def test_the_calibration_error_is_the_one_written_out_by_hand() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.random(400)
    right = rng.random(400) < probabilities**2
    expected = 0.0
    for number in range(15):
        some = [
            (probability, is_right)
            for probability, is_right in zip(probabilities, right, strict=True)
            if number / 15 < probability <= (number + 1) / 15
        ]
        if some:
            said = math.fsum(probability for probability, _ in some) / len(some)
            came = sum(is_right for _, is_right in some) / len(some)
            expected += len(some) / 400 * abs(said - came)
    bins = metrics.reliability(probabilities, right)
    assert metrics.expected_calibration_error(bins) == pytest.approx(expected, abs=1e-12)
    assert sum(one.n for one in bins) == 400


def test_a_bin_holds_its_upper_end_and_empty_bins_are_left_out() -> None:
    bins = metrics.reliability(np.array([0.0, 1 / 15, 1.0]), np.array([False, True, True]))
    assert [(one.low, one.n, one.share_right) for one in bins] == [
        (0.0, 2, 0.5),
        (pytest.approx(14 / 15), 1, 1.0),
    ]


def test_nothing_answered_has_no_calibration_error() -> None:
    bins = metrics.reliability(np.array([]), np.array([], dtype=bool))
    assert metrics.expected_calibration_error(bins) is None


def test_probabilities_that_keep_their_word_have_no_error() -> None:
    bins = metrics.reliability(np.full(10, 0.7), np.arange(10) < 7)
    assert metrics.expected_calibration_error(bins) == pytest.approx(0.0, abs=1e-12)
