"""Figures of photographs of which some got no label, against scikit-learn and published ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from clipcli.evaluation.judge import JudgedPhoto
from clipcli.evaluation.measure import Confusion, Evaluation, measure, worst_mistakes
from clipcli.evaluation.page import page
from clipcli.evaluation.tables import overall
from clipcli.files.table import Table
from clipcli.labelling.classifier import Classifier
from clipcli.labelling.labeller import zero_shot_labeller
from clipcli.models.score import Score
from clipcli.records import MadeBy, Prediction

NAMES = ("cat", "dog", "fox", "owl")
NONE = ""


def measured(truth: list[str], answers: list[str]) -> Evaluation:
    """`NONE` is the answer of a photograph without a label."""
    judged = [
        JudgedPhoto("a.jpg", one, (Prediction(answer, 0.75, 0.2),) if answer else (), 1, 0.5)
        for one, answer in zip(truth, answers, strict=True)
    ]
    made_by = MadeBy("lite", "0" * 64, "fp32", "crop", ("a photo of a {}.",))
    classifier = Classifier(NAMES, np.eye(4, dtype=np.float32), Score(100.0))
    return measure(judged, zero_shot_labeller(classifier, made_by, 5))


def test_a_photograph_without_a_label_is_wrong_and_the_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(NAMES[:3], 200).tolist()  # there is no owl
    answers = [
        one if right else other
        for one, right, other in zip(
            truth, rng.random(200) < 0.6, rng.choice([*NAMES, NONE], 200).tolist(), strict=True
        )
    ]
    evaluation = measured(truth, answers)
    assert evaluation.n_no_label == answers.count(NONE) > 0
    assert evaluation.top1 == sum(map(str.__eq__, truth, answers)) / 200
    columns = precision_recall_fscore_support(
        truth, answers, labels=NAMES, zero_division=np.nan, average=None
    )
    for score, precision, recall, f1, n in zip(
        evaluation.per_label.values(), *columns, strict=True
    ):
        assert score.n == n
        assert score.precision == pytest.approx(precision)
        assert score.recall == (pytest.approx(recall) if n else None)
        assert score.f1 == pytest.approx(f1)
    shown = NAMES[:3]
    assert evaluation.macro_f1 == pytest.approx(
        f1_score(truth, answers, labels=shown, average="macro")
    )
    micro = precision_recall_fscore_support(truth, answers, labels=NAMES, average="micro")
    assert (evaluation.micro_precision, evaluation.top1, evaluation.micro_f1) == pytest.approx(
        micro[:3]
    )
    assert sum(one.n for one in evaluation.bins) == 200 - evaluation.n_no_label
    assert {one.predicted for one in evaluation.confusions} == {*NAMES, None}
    assert all(one.best is not None for one in worst_mistakes(evaluation, 200))


def test_intervals_of_recall_and_precision_are_wilsons() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263 and 15 of 148
    cat = measured(["cat"] * 263, ["cat"] * 81 + ["dog"] * 182).per_label["cat"]
    assert cat.recall_interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert cat.n_answered == 81
    dog = measured(["dog"] * 15 + ["cat"] * 133, ["dog"] * 148).per_label["dog"]
    assert dog.precision_interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert dog.n_answered == 148
    owl = measured(["cat"], ["cat"]).per_label["owl"]
    assert (owl.recall_interval, owl.precision_interval, owl.f1) == (None, None, None)


def shown(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in table.rows]


def test_without_any_label_there_are_figures_all_the_same() -> None:
    evaluation = measured(["cat", "dog"], [NONE, NONE])
    assert (evaluation.top1, evaluation.macro_f1, evaluation.micro_f1) == (0, 0, 0)
    assert (evaluation.ece, evaluation.micro_precision, evaluation.n_no_label) == (None, None, 2)
    assert evaluation.confusions == [Confusion("cat", None, 1), Confusion("dog", None, 1)]
    assert ["no label", "100.0 %", "", "2 of 2"] in shown(overall(evaluation))
    assert "cat taken for no label: 1 of 1" in page([evaluation])


def test_the_mean_f1_says_of_how_many_labels_it_is_and_micro_figures_only_what_top1_does_not() -> (
    None
):
    some = overall(measured(["cat", "dog"], ["cat", "owl"]))
    assert [row[0] for row in shown(some)] == [
        *("top-1", "top-4", "mean recall", "macro F1 of 2 labels", "calibration error"),
    ]
    assert shown(overall(measured([*NAMES], [*NAMES])))[3][0] == "macro F1"
